//! Ports of brokers that end and come back.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below those that a system gives to sockets that ask for none.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Ports of one process before it comes to those of the next.
const STRIDE: u32 = 67;

/// A free UDP port of loopback that no other socket is given while its broker is away: one that the system chose might be.
pub(crate) fn steady() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let all = u32::from(PORTS.end - PORTS.start);
    let is_free = |port: &u16| UdpSocket::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let next = || {
        let place = u64::from(std::process::id()) * u64::from(STRIDE) + u64::from(TAKEN.fetch_add(1, Ordering::Relaxed));
        PORTS.start + u16::try_from(place % u64::from(all)).expect("less than all")
    };
    std::iter::repeat_with(next).take(PORTS.len()).find(is_free).expect("a port")
}
