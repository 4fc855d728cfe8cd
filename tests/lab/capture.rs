//! A relay between nodes and their broker that keeps every datagram that passes.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longest datagram.
const DATAGRAM_BYTES_MAX: usize = 65_536;
/// How often a thread without datagrams looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(50);

/// The relay. Ends when it is dropped.
pub(crate) struct Capture {
    shared: Arc<Shared>,
    place: SocketAddr,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    socket: UdpSocket,
    broker: OnceLock<SocketAddr>,
    seen: Mutex<Vec<u8>>,
    ends: AtomicBool,
}

impl Capture {
    /// Listens on loopback. Datagrams that come before the broker is known are kept and go nowhere.
    pub(crate) fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(GLANCE)).expect("a timeout");
        let place = socket.local_addr().expect("bound");
        let shared = Arc::new(Shared { socket, broker: OnceLock::new(), seen: Mutex::default(), ends: AtomicBool::new(false) });
        let own = shared.clone();
        Self { shared, place, thread: Some(std::thread::spawn(move || own.pass_on())) }
    }

    /// Where nodes find it.
    pub(crate) fn place(&self) -> SocketAddr {
        self.place
    }

    /// Where the broker is.
    pub(crate) fn lead_to(&self, broker: SocketAddr) {
        self.shared.broker.set(broker).expect("it is told once");
    }

    /// Everything that passed, in both directions, one datagram behind the other.
    pub(crate) fn seen(&self) -> Vec<u8> {
        self.shared.lock().clone()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    /// From nodes to the broker; each node gets a socket of its own there, as behind a NAT.
    fn pass_on(self: &Arc<Self>) {
        let mut nodes: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
        let mut returning = Vec::new();
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        while !self.ends() {
            let Ok((length, node)) = self.socket.recv_from(&mut datagram) else { continue };
            self.lock().extend_from_slice(&datagram[..length]);
            let Some(broker) = self.broker.get() else { continue };
            let upstream = nodes.entry(node).or_insert_with(|| {
                let upstream = Arc::new(upstream(*broker));
                let (shared, back) = (self.clone(), upstream.clone());
                returning.push(std::thread::spawn(move || shared.bring_back(&back, node)));
                upstream
            });
            // A broker that is away loses datagrams, as on any network.
            let _ = upstream.send(&datagram[..length]);
        }
        returning.into_iter().for_each(|thread| drop(thread.join()));
    }

    fn bring_back(&self, upstream: &UdpSocket, node: SocketAddr) {
        let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
        while !self.ends() {
            let Ok(length) = upstream.recv(&mut datagram) else { continue };
            self.lock().extend_from_slice(&datagram[..length]);
            let _ = self.socket.send_to(&datagram[..length], node);
        }
    }
}

fn upstream(broker: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(GLANCE)).expect("a timeout");
    socket.connect(broker).expect("a loopback address");
    socket
}
