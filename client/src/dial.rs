//! How a task gets its connections: over the network, from a test, or not at all.

use std::pin::Pin;

use tidings_proto::BrokerAddress;

use crate::connection::{ConnectOptions, Connection, ConnectionError, Endpoint};

/// A connection on its way.
pub type Dialing<'a> = Pin<Box<dyn Future<Output = Result<Connection, ConnectionError>> + Send + 'a>>;

/// Gives connections to brokers. Publisher and subscriber know brokers only through this.
pub trait Dial: Send + Sync + 'static {
    /// Connects and exchanges greetings. Has no effect at the broker; dropping the future gives up.
    fn dial<'a>(&'a self, address: &'a BrokerAddress) -> Dialing<'a>;
}

/// Connections over the network.
#[derive(Clone, Debug)]
pub struct Network {
    endpoint: Endpoint,
    options: ConnectOptions,
}

impl Network {
    /// Dials from `endpoint`.
    pub fn new(endpoint: Endpoint, options: ConnectOptions) -> Self {
        Self { endpoint, options }
    }
}

impl Dial for Network {
    fn dial<'a>(&'a self, address: &'a BrokerAddress) -> Dialing<'a> {
        Box::pin(Connection::connect(&self.endpoint, address, &self.options))
    }
}

/// Never connects: for work that is to stay offline.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Dial for Nowhere {
    fn dial<'a>(&'a self, address: &'a BrokerAddress) -> Dialing<'a> {
        let error =
            ConnectionError::Unreachable { address: format!("{}:{}", address.host, address.port), detail: "told to stay offline".into() };
        Box::pin(std::future::ready(Err(error)))
    }
}
