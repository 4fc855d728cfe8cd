//! What this process uses, as the kernel tells it in `/proc`. Where there is none, nothing is told.

use std::fs;
use std::time::Duration;

/// What `/proc/self/stat` counts in: a hundredth of a second on every Linux.
const TICK: Duration = Duration::from_millis(10);
/// Places of user and system time behind the name of the program, which ends with a parenthesis.
const USER: usize = 11;
const SYSTEM: usize = 12;

/// Processor time of all threads so far.
pub(super) fn cpu() -> Option<Duration> {
    cpu_of(&fs::read_to_string("/proc/self/stat").ok()?)
}

fn cpu_of(stat: &str) -> Option<Duration> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(TICK * ticks(USER)?.checked_add(ticks(SYSTEM)?)?)
}

/// The most memory that was resident at once, bytes.
pub(super) fn rss_max() -> Option<u64> {
    resident("VmHWM:")
}

/// Memory that is resident now, bytes.
pub(super) fn rss() -> Option<u64> {
    resident("VmRSS:")
}

fn resident(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse::<u64>().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_hold_what_it_likes() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 30 0 0 20 0 8 0 100 1 1";
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(2_800)));
        assert_eq!(cpu_of("7 (a) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory() {
        let (now, most) = (rss().expect("told"), rss_max().expect("told"));
        assert!(now > 0 && most > 0 && cpu().is_some());
    }
}
