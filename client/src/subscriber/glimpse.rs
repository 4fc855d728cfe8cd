//! One look at what another broker shows, beside the route that serves. [P-13]

use std::time::Duration;

use bytes::Bytes;
use tidings_core::PseudonymKey;
use tidings_core::reader::{PulseTaken, Reader};
use tidings_proto::frames::Subscribe;
use tidings_proto::{RefusalCode, Reply, Timestamp};
use tokio::time::{Instant, sleep, timeout_at};

use super::reach::attempt;
use super::route::Route;
use crate::connection::{Connection, ConnectionError};
use crate::stream::in_time;

/// How long the pulse that a broker keeps may take after its head.
const PULSE_WAIT: Duration = Duration::from_secs(1);
/// A head that one broker has shown another one may be about to: who is a moment later does not lag.
const MOMENT: Duration = Duration::from_secs(2);

/// Why it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The storage serves.
    Storage,
    /// A broker serves, and nothing speaks against it.
    Habit,
    /// A broker serves, and the view is stale.
    Stale,
}

/// What a broker showed.
pub(super) struct Glimpse {
    /// Its place among all routes.
    pub(super) at: usize,
    pub(super) connection: Connection,
    /// The newest head that it announced; `None` if it says that access ended.
    head: Option<Bytes>,
    /// What the owner said last, where that was asked for.
    pub(super) pulse: Option<Bytes>,
}

impl Glimpse {
    /// Asks the broker of a route for what it would send to this subscription. Dropping it gives up.
    pub(super) async fn of(
        (at, route): (usize, Route),
        (key, subscribe): (PseudonymKey, Subscribe),
        why: Why,
    ) -> Result<Self, ConnectionError> {
        let (at, connection) = attempt(at, route, key).await;
        let connection = connection?;
        let (head, pulse) = in_time(shown(&connection, subscribe, why == Why::Stale)).await?;
        if why == Why::Habit {
            sleep(MOMENT).await;
        }
        Ok(Self { at, connection, head, pulse })
    }

    /// Whether this broker has more to say than the route that serves: a newer head, or with the same head the owner's word that the view
    /// is young after all. Instead of the storage it is enough that it has as much, or that it shows that access ended.
    pub(super) fn leads_on(&self, reader: &Reader, is_storage: bool, (now, max_age): (Timestamp, Duration)) -> bool {
        let Some(head) = &self.head else { return is_storage };
        let Some(head) = reader.witnessed(head) else { return false };
        let (rank, verified) = (head.rank(), reader.cursor().rank);
        if is_storage {
            return rank >= verified;
        }
        let is_young = |reader: &Reader| reader.fresh_until(max_age) > now;
        let mut told = reader.clone();
        let is_heard = |pulse: &Bytes| told.on_pulse(pulse, now) == PulseTaken::Heard;
        rank > reader.announced().unwrap_or_default().max(verified)
            || (self.pulse.as_ref().is_some_and(is_heard) && is_young(&told) && !is_young(reader))
    }
}

/// The first announced head, and the pulse behind it if that is wanted and comes soon.
async fn shown(connection: &Connection, subscribe: Subscribe, with_pulse: bool) -> Result<(Option<Bytes>, Option<Bytes>), ConnectionError> {
    let mut stream = connection.subscribe(subscribe).await?;
    let head = loop {
        match stream.replies.receive().await? {
            Reply::Announce(announce) => break announce.head,
            Reply::Refused(refusal) if refusal.code == RefusalCode::Denied => return Ok((None, None)),
            Reply::Refused(refusal) => return Err(refusal.into()),
            _ => {}
        }
    };
    if !with_pulse {
        return Ok((Some(head), None));
    }
    let until = Instant::now() + PULSE_WAIT;
    loop {
        match timeout_at(until, stream.replies.receive()).await {
            Ok(Ok(Reply::Pulse(pulse))) => return Ok((Some(head), Some(pulse))),
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Ok((Some(head), None)),
        }
    }
}
