//! What came of a change of brokers.

use tidings_proto::BrokerAddress;

/// The brokers are those that were asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Brokers that were left and have receipted the closed head: they send readers on.
    pub informed: Vec<BrokerAddress>,
    /// Brokers that were left and have not: what they hold looks as if it were still served.
    pub uninformed: Vec<BrokerAddress>,
}
