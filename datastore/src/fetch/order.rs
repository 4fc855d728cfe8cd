//! What is to be fetched and what was, as rows of the client's state.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `follower/fetches` | queue, path | encoded [`Order`] |
//! | `follower/due` | queue, milliseconds, path | - ; orders by when they are tried next |
//! | `follower/cached` | queue, path | encoded [`Cached`] |
//! | `follower/uses` | object id, queue, path | - ; whoever wants the object or has it |
//! | `follower/garbage` | queue, object id | - ; objects whose file goes unless they are used |

use tidings_client::{Row, StateError};
use tidings_core::{Decoder, Encoder, ObjectKey, ObjectReference, RecordPath};
use tidings_proto::{QueueId, Timestamp};

/// Table of orders.
pub(crate) const ORDERS: &str = "follower/fetches";
/// Table of orders by time.
pub(crate) const DUE: &str = "follower/due";
/// Table of what is in the cache.
pub(crate) const CACHED: &str = "follower/cached";
/// Table of what is used.
pub(crate) const USES: &str = "follower/uses";
/// Table of what may be removed.
pub(crate) const GARBAGE: &str = "follower/garbage";

/// How it stands with a value that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchState {
    /// It will be tried.
    Waiting,
    /// The storage does not have it, although the view is as new as can be. Tried again, slowly.
    Missing,
    /// The storage gave something else. Tried again, slowly.
    Altered,
    /// No storage of this owner is known.
    NoStorage,
    /// It needs a newer version of this program. Tried again, slowly. [P-20]
    TooNew,
}

/// How many values are not here, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FetchStatus {
    /// Are tried, and will be until they come.
    pub waiting: u64,
    /// Of the waiting ones, those that failed three times or more.
    pub failing: u64,
    /// Are named missing.
    pub missing: u64,
    /// Are named altered.
    pub altered: u64,
    /// Have no storage to come from.
    pub no_storage: u64,
    /// Need a newer version of this program.
    pub too_new: u64,
    /// Bytes of all these values.
    pub bytes: u64,
}

impl FetchStatus {
    /// Counts an order in.
    pub(crate) fn count(&mut self, order: &Order) {
        match order.state {
            FetchState::Waiting => self.waiting += 1,
            FetchState::Missing => self.missing += 1,
            FetchState::Altered => self.altered += 1,
            FetchState::NoStorage => self.no_storage += 1,
            FetchState::TooNew => self.too_new += 1,
        }
        self.failing += u64::from(order.state == FetchState::Waiting && order.failures >= 3);
        self.bytes = self.bytes.saturating_add(order.object.size);
    }
}

/// A value that is to be fetched.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Order {
    /// What opens and checks it; name and content type are left out.
    pub(crate) object: ObjectReference,
    pub(crate) state: FetchState,
    /// How often the storage said that it has none.
    pub(crate) misses: u32,
    /// Attempts that failed in a row.
    pub(crate) failures: u32,
    /// When it is tried next, by this node's clock.
    pub(crate) due: Timestamp,
}

impl Order {
    /// An order that nobody has tried.
    pub(crate) fn new(object: &ObjectReference, state: FetchState, due: Timestamp) -> Self {
        let object = ObjectReference { name: String::new(), content_type: String::new(), ..object.clone() };
        Self { object, state, misses: 0, failures: 0, due }
    }

    /// Whether `object` is what is ordered.
    pub(crate) fn is_of(&self, object: &ObjectReference) -> bool {
        let (mine, other) = (&self.object, object);
        mine.id == other.id && mine.key == other.key && mine.plaintext_hash == other.plaintext_hash && mine.size == other.size
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.raw(&self.object.id);
        out.raw(self.object.key.bytes());
        out.raw(&self.object.plaintext_hash);
        out.u64(self.object.size);
        out.u8(match self.state {
            FetchState::Waiting => 1,
            FetchState::Missing => 2,
            FetchState::Altered => 3,
            FetchState::NoStorage => 4,
            FetchState::TooNew => 5,
        });
        out.u32(self.misses);
        out.u32(self.failures);
        out.u64(self.due.value());
        out.finish()
    }

    /// Reads a row.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Decoder::new(bytes);
        let (id, key, plaintext_hash) = (input.array("id")?, ObjectKey::new(input.array("key")?), input.array("hash")?);
        let size = input.u64("size")?;
        let state = match input.u8("state")? {
            1 => FetchState::Waiting,
            2 => FetchState::Missing,
            3 => FetchState::Altered,
            4 => FetchState::NoStorage,
            5 => FetchState::TooNew,
            _ => return Err(StateError::Damaged("an unknown state of a fetch".into())),
        };
        let (misses, failures) = (input.u32("misses")?, input.u32("failures")?);
        let due = Timestamp::new(input.u64("due")?);
        input.finish()?;
        let object = ObjectReference { id, name: String::new(), key, plaintext_hash, size, content_type: String::new() };
        Ok(Self { object, state, misses, failures, due })
    }
}

/// An object in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cached {
    pub(crate) id: [u8; 32],
    /// Hash of the value that it was checked to open to.
    pub(crate) plaintext_hash: [u8; 32],
}

impl Cached {
    fn encode(&self) -> Vec<u8> {
        [self.id, self.plaintext_hash].concat()
    }

    /// Reads a row.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut input = Decoder::new(bytes);
        let cached = Self { id: input.array("id")?, plaintext_hash: input.array("hash")? };
        input.finish()?;
        Ok(cached)
    }
}

/// One record of one follow, and the rows about it.
pub(crate) struct Place<'a> {
    queue: &'a QueueId,
    path: &'a RecordPath,
}

impl<'a> Place<'a> {
    pub(crate) fn new(queue: &'a QueueId, path: &'a RecordPath) -> Self {
        Self { queue, path }
    }

    /// Key of the rows by queue and path.
    pub(crate) fn key(&self) -> Vec<u8> {
        [self.queue.bytes(), self.path.as_str().as_bytes()].concat()
    }

    fn due_key(&self, due: Timestamp) -> Vec<u8> {
        [self.queue.bytes(), &due.value().to_be_bytes()[..], self.path.as_str().as_bytes()].concat()
    }

    fn use_key(&self, id: &[u8; 32]) -> Vec<u8> {
        [id, self.queue.bytes(), self.path.as_str().as_bytes()].concat()
    }

    /// Puts an order that was not there.
    pub(crate) fn order(&self, order: &Order, rows: &mut Vec<Row>) {
        rows.push(Row::put(USES, self.use_key(&order.object.id), []));
        self.write(order, rows);
    }

    /// Puts `order` in the place of `before`, which is for the same object.
    pub(crate) fn reorder(&self, before: &Order, order: &Order, rows: &mut Vec<Row>) {
        rows.push(Row::remove(DUE, self.due_key(before.due)));
        self.write(order, rows);
    }

    fn write(&self, order: &Order, rows: &mut Vec<Row>) {
        // Without a storage there is nothing to try.
        if order.state != FetchState::NoStorage {
            rows.push(Row::put(DUE, self.due_key(order.due), []));
        }
        rows.push(Row::put(ORDERS, self.key(), order.encode()));
    }

    /// The ordered object is in the cache.
    pub(crate) fn fulfil(&self, order: &Order, rows: &mut Vec<Row>) {
        self.withdraw(order, rows);
        let cached = Cached { id: order.object.id, plaintext_hash: order.object.plaintext_hash };
        rows.push(Row::put(CACHED, self.key(), cached.encode()));
    }

    /// The order goes; the object stays used.
    fn withdraw(&self, order: &Order, rows: &mut Vec<Row>) {
        rows.push(Row::remove(DUE, self.due_key(order.due)));
        rows.push(Row::remove(ORDERS, self.key()));
    }

    /// What was ordered is not wanted here any more.
    pub(crate) fn cancel(&self, order: &Order, rows: &mut Vec<Row>) {
        self.withdraw(order, rows);
        self.leave(&order.object.id, rows);
    }

    /// What was in the cache is not wanted here any more.
    pub(crate) fn discard(&self, cached: &Cached, rows: &mut Vec<Row>) {
        rows.push(Row::remove(CACHED, self.key()));
        self.leave(&cached.id, rows);
    }

    fn leave(&self, id: &[u8; 32], rows: &mut Vec<Row>) {
        rows.push(Row::remove(USES, self.use_key(id)));
        rows.push(Row::put(GARBAGE, garbage_key(self.queue, id), []));
    }
}

/// Key of an object of `queue` whose file goes unless it is used.
fn garbage_key(queue: &QueueId, id: &[u8; 32]) -> Vec<u8> {
    [&queue.bytes()[..], id].concat()
}

/// The object of a key that [`garbage_key`] made.
pub(crate) fn id_of_garbage(key: &[u8]) -> Result<[u8; 32], StateError> {
    key.get(32..).and_then(|id| id.try_into().ok()).ok_or_else(|| StateError::Damaged("a key is too short".into()))
}

/// The path at the end of a key, behind `before` bytes.
pub(crate) fn path_of(key: &[u8], before: usize) -> Result<RecordPath, StateError> {
    let text = key.get(before..).and_then(|path| std::str::from_utf8(path).ok());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| StateError::Damaged("a key names no record".into()))
}

/// The time in a key of the table of orders by time.
pub(crate) fn time_of_due(key: &[u8]) -> Result<Timestamp, StateError> {
    let time = key.get(32..40).and_then(|time| time.try_into().ok()).map(u64::from_be_bytes);
    time.map(Timestamp::new).ok_or_else(|| StateError::Damaged("a key is too short".into()))
}

#[cfg(test)]
mod tests {
    use tidings_hostile::{Meal, alone, feed};

    use super::*;

    const STATES: [FetchState; 5] =
        [FetchState::Waiting, FetchState::Missing, FetchState::Altered, FetchState::NoStorage, FetchState::TooNew];

    fn orders() -> [Order; 5] {
        let object = ObjectReference {
            id: [1; 32],
            name: String::new(),
            key: ObjectKey::new([2; 32]),
            plaintext_hash: [3; 32],
            size: 4_097,
            content_type: String::new(),
        };
        STATES.map(|state| Order { object: object.clone(), state, misses: 2, failures: 7, due: Timestamp::new(9) })
    }

    #[test]
    fn an_order_survives_its_row() {
        for order in orders() {
            assert!(Order::decode(&order.encode()).expect("an order") == order);
        }
    }

    #[test]
    fn keys_tell_their_time_and_path() {
        let (queue, path) = (QueueId::new([7; 32]), "/a/b".parse().expect("a path"));
        let key = Place::new(&queue, &path).due_key(Timestamp::new(258));
        assert_eq!((time_of_due(&key).expect("a time"), path_of(&key, 40).expect("a path")), (Timestamp::new(258), path));
    }

    #[test]
    fn rows_and_keys_have_one_encoding_each() {
        alone(concat!(module_path!(), "::rows_and_keys_have_one_encoding_each"), || {
            feed("order", Meal::LARGE, &orders().map(|order| order.encode()), |bytes| Some(Order::decode(bytes).ok()?.encode()));
            let cached = Cached { id: [1; 32], plaintext_hash: [2; 32] };
            feed("cached", Meal::LARGE, &[cached.encode()], |bytes| Some(Cached::decode(bytes).ok()?.encode()));
            let queue = |key: &[u8]| key.first_chunk().copied().map(QueueId::new);
            let paths: [RecordPath; 2] = ["/a", "/caf\u{e9}/b"].map(|path| path.parse().expect("a path"));
            let owner = QueueId::new([7; 32]);
            let places = paths.each_ref().map(|path| Place::new(&owner, path));
            feed("key of an order", Meal::LARGE, &places.each_ref().map(Place::key), |key| {
                let path = path_of(key, 32).ok()?;
                Some(Place::new(&queue(key)?, &path).key())
            });
            let due = places.each_ref().map(|place| place.due_key(Timestamp::new(258)));
            feed("key of a time", Meal::LARGE, &due, |key| {
                let (time, path) = (time_of_due(key).ok(), path_of(key, 40).ok());
                assert!(time.is_some() || path.is_none());
                Some(Place::new(&queue(key)?, &path?).due_key(time?))
            });
            let garbage = [garbage_key(&owner, &[8; 32])];
            feed("key of garbage", Meal::LARGE, &garbage, |key| Some(garbage_key(&queue(key)?, &id_of_garbage(key).ok()?)));
        });
    }
}
