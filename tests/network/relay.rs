//! A path between nodes and their broker, as bad as a test wants it: a relay of datagrams on loopback, with a mapping for each node as
//! behind a NAT.

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::runtime::Runtime;
use tokio::task::AbortHandle;

use super::dice::Dice;

/// Longer than any datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// Datagrams that are kept for a later replay.
const RECORDED_MAX: usize = 5_000;

/// What happens to datagrams of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// None gets through.
    pub(crate) closed: bool,
    /// Percent that are lost.
    pub(crate) lost: u64,
    /// Percent that come twice.
    pub(crate) doubled: u64,
    /// Percent in which one bit is turned.
    pub(crate) altered: u64,
    /// Percent that come later than others by up to 20 ms.
    pub(crate) late: u64,
    /// Time on the way, and up to so much more.
    pub(crate) delay: (Duration, Duration),
    /// Longer ones are lost. Bytes of payload; 0 is no limit.
    pub(crate) longest: usize,
}

/// What happens on the path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// From nodes to the broker.
    pub(crate) up: Way,
    /// From the broker to nodes.
    pub(crate) down: Way,
    /// A mapping through which no node sent anything for so long is forgotten.
    pub(crate) mapping: Option<Duration>,
}

impl Weather {
    /// The same in both directions.
    pub(crate) fn both(way: Way) -> Self {
        Self { up: way, down: way, mapping: None }
    }
}

/// What a mapping changes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rebind {
    /// Another port.
    Port,
    /// Another address of loopback.
    Address,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Connections that nodes began to open.
    pub(crate) connections: usize,
    /// Datagrams to the broker, and of those how many began a handshake.
    pub(crate) up: u64,
    pub(crate) initials: u64,
    /// Datagrams from the broker.
    pub(crate) down: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) altered: u64,
    pub(crate) late: u64,
    pub(crate) too_long: u64,
    /// Datagrams to a mapping that was no longer there.
    pub(crate) unmapped: u64,
    /// Mappings that were made.
    pub(crate) mappings: u64,
}

/// The relay. It ends with this.
pub(crate) struct Relay {
    shared: Arc<Shared>,
    place: SocketAddr,
    runtime: Option<Runtime>,
}

struct Shared {
    socket: UdpSocket,
    state: Mutex<State>,
}

struct State {
    dice: Dice,
    broker: Option<SocketAddr>,
    weather: Weather,
    mappings: HashMap<SocketAddr, Mapping>,
    rebind: Rebind,
    /// Addresses used so far; each change of address takes the next.
    address: u8,
    /// Change the mappings after each so many datagrams of the broker.
    rebind_every: Option<u64>,
    seen: Seen,
    /// Connection ids that nodes chose.
    ids: HashSet<Vec<u8>>,
    recorded: Vec<Vec<u8>>,
}

struct Mapping {
    socket: Arc<UdpSocket>,
    used: Instant,
    back: AbortHandle,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        self.back.abort();
    }
}

impl Relay {
    /// Listens on loopback, with a path that does nothing to datagrams.
    pub(crate) fn start(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let socket = runtime.block_on(UdpSocket::bind("127.0.0.1:0")).expect("a socket");
        let place = socket.local_addr().expect("bound");
        let shared = Arc::new(Shared { socket, state: Mutex::new(State::new(seed)) });
        runtime.spawn(pass_up(shared.clone()));
        Self { shared, place, runtime: Some(runtime) }
    }

    /// Where nodes find it.
    pub(crate) fn place(&self) -> SocketAddr {
        self.place
    }

    /// Where the broker is.
    pub(crate) fn lead_to(&self, broker: SocketAddr) {
        self.shared.lock().broker = Some(broker);
    }

    /// What happens from now on.
    pub(crate) fn weather(&self, weather: Weather) {
        self.shared.lock().weather = weather;
    }

    /// All mappings change now: what the broker still sends to the old ones goes nowhere.
    pub(crate) fn rebind(&self, rebind: Rebind) {
        self.shared.lock().change_mappings(rebind);
    }

    /// All mappings change after each so many datagrams of the broker.
    pub(crate) fn rebind_every(&self, datagrams: Option<u64>, rebind: Rebind) {
        let mut state = self.shared.lock();
        (state.rebind_every, state.rebind) = (datagrams, rebind);
    }

    pub(crate) fn seen(&self) -> Seen {
        self.shared.lock().seen
    }

    /// The first datagrams that passed, of both directions.
    pub(crate) fn recorded(&self) -> Vec<Vec<u8>> {
        self.shared.lock().recorded.clone()
    }

    /// Sends something to every node, from where their broker seems to be.
    pub(crate) fn to_nodes(&self, datagram: &[u8]) {
        let nodes: Vec<SocketAddr> = self.shared.lock().mappings.keys().copied().collect();
        nodes.iter().for_each(|node| drop(self.shared.socket.try_send_to(datagram, *node)));
    }

    /// Sends something to the broker, from where its nodes seem to be.
    pub(crate) fn to_broker(&self, datagram: &[u8]) {
        let state = self.shared.lock();
        state.mappings.values().for_each(|mapping| drop(mapping.socket.try_send(datagram)));
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mapping of a node, made anew where it has none or it was forgotten.
    fn mapping(self: &Arc<Self>, node: SocketAddr, broker: SocketAddr) -> Arc<UdpSocket> {
        let mut state = self.lock();
        let kept = state.weather.mapping.unwrap_or(Duration::MAX);
        if let Some(mapping) = state.mappings.get_mut(&node).filter(|mapping| mapping.used.elapsed() < kept) {
            mapping.used = Instant::now();
            return mapping.socket.clone();
        }
        let socket = Arc::new(outward(state.address, broker));
        let back = tokio::spawn(pass_down(self.clone(), socket.clone(), node)).abort_handle();
        state.seen.mappings += 1;
        state.mappings.insert(node, Mapping { socket: socket.clone(), used: Instant::now(), back });
        socket
    }

    /// What becomes of a datagram: when it goes on, how often, and as what.
    fn fate_up(&self, datagram: &[u8]) -> (Option<SocketAddr>, Fate) {
        let mut state = self.lock();
        state.seen.up += 1;
        state.note(datagram);
        let way = state.weather.up;
        (state.broker, state.fate(&way, datagram))
    }

    fn fate_down(&self, datagram: &[u8], node: SocketAddr, socket: &Arc<UdpSocket>) -> Fate {
        let mut state = self.lock();
        state.seen.down += 1;
        let kept = state.weather.mapping.unwrap_or(Duration::MAX);
        let mapped = |mapping: &&Mapping| Arc::ptr_eq(&mapping.socket, socket) && mapping.used.elapsed() < kept;
        if state.mappings.get(&node).filter(mapped).is_none() {
            state.seen.unmapped += 1;
            return Fate::default();
        }
        let way = state.weather.down;
        let fate = state.fate(&way, datagram);
        if state.rebind_every.is_some_and(|every| state.seen.down.is_multiple_of(every)) {
            let rebind = state.rebind;
            state.change_mappings(rebind);
        }
        fate
    }
}

impl State {
    fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            broker: None,
            weather: Weather::default(),
            mappings: HashMap::new(),
            rebind: Rebind::Port,
            address: 1,
            rebind_every: None,
            seen: Seen::default(),
            ids: HashSet::new(),
            recorded: Vec::new(),
        }
    }

    fn change_mappings(&mut self, rebind: Rebind) {
        if rebind == Rebind::Address {
            self.address += 1;
        }
        self.mappings.clear();
    }

    fn note(&mut self, datagram: &[u8]) {
        self.record(datagram);
        if let Some(id) = id_of_initial(datagram) {
            self.seen.initials += 1;
            self.ids.insert(id.to_vec());
            self.seen.connections = self.ids.len();
        }
    }

    fn record(&mut self, datagram: &[u8]) {
        if self.recorded.len() < RECORDED_MAX {
            self.recorded.push(datagram.to_vec());
        }
    }

    fn fate(&mut self, way: &Way, datagram: &[u8]) -> Fate {
        if way.longest > 0 && datagram.len() > way.longest {
            self.seen.too_long += 1;
            return Fate::default();
        }
        if way.closed || self.dice.falls(way.lost) {
            self.seen.lost += 1;
            return Fate::default();
        }
        let mut fate = Fate { datagram: datagram.to_vec(), delays: vec![self.delay(way)] };
        if self.dice.falls(way.altered) {
            self.seen.altered += 1;
            let (byte, bit) = (self.dice.below(datagram.len()), self.dice.below(8));
            fate.datagram[byte] ^= 1 << bit;
        }
        if self.dice.falls(way.doubled) {
            self.seen.doubled += 1;
            fate.delays.push(self.delay(way));
        }
        fate
    }

    fn delay(&mut self, way: &Way) -> Duration {
        let mut delay = way.delay.0 + way.delay.1.mul_f64(self.dice.below(1_000) as f64 / 1_000.0);
        if self.dice.falls(way.late) {
            self.seen.late += 1;
            delay += Duration::from_millis(1 + self.dice.below(20) as u64);
        }
        delay
    }
}

/// What becomes of a datagram.
#[derive(Default)]
struct Fate {
    datagram: Vec<u8>,
    /// One for each time that it goes on.
    delays: Vec<Duration>,
}

impl Fate {
    async fn befall<S: Future<Output = ()> + Send + 'static>(self, send: impl Fn(Vec<u8>) -> S) {
        for delay in self.delays {
            let sending = send(self.datagram.clone());
            if delay.is_zero() {
                sending.await;
            } else {
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    sending.await;
                });
            }
        }
    }
}

async fn pass_up(shared: Arc<Shared>) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok((length, node)) = shared.socket.recv_from(&mut datagram).await else { continue };
        let (broker, fate) = shared.fate_up(&datagram[..length]);
        let Some(broker) = broker else { continue };
        // A NAT sees what is lost behind it.
        let outward = shared.mapping(node, broker);
        // A broker that is away loses datagrams, as on any network.
        let send = |datagram: Vec<u8>| {
            let outward = outward.clone();
            async move { drop(outward.send(&datagram).await) }
        };
        fate.befall(send).await;
    }
}

async fn pass_down(shared: Arc<Shared>, outward: Arc<UdpSocket>, node: SocketAddr) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let Ok(length) = outward.recv(&mut datagram).await else { continue };
        shared.lock().record(&datagram[..length]);
        let fate = shared.fate_down(&datagram[..length], node, &outward);
        let send = |datagram: Vec<u8>| {
            let shared = shared.clone();
            async move { drop(shared.socket.send_to(&datagram, node).await) }
        };
        fate.befall(send).await;
    }
}

fn outward(address: u8, broker: SocketAddr) -> UdpSocket {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::new(127, 0, 0, address), 0)).expect("loopback has many addresses");
    socket.connect(broker).expect("a loopback address");
    socket.set_nonblocking(true).expect("a socket");
    UdpSocket::from_std(socket).expect("within the runtime")
}

/// The id that a node chose for itself, if a datagram begins with a first packet of a handshake (RFC 9000, 17.2.2).
fn id_of_initial(datagram: &[u8]) -> Option<&[u8]> {
    let (first, rest) = datagram.split_first()?;
    let rest = rest.strip_prefix(&1u32.to_be_bytes())?;
    if first & 0xf0 != 0xc0 {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let (&length, rest) = rest.get(usize::from(length)..)?.split_first()?;
    rest.get(..usize::from(length))
}
