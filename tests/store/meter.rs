//! What something cost: time, processor, memory, disk.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs it, and says how long it took.
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let answer = call();
    (answer, started.elapsed())
}

/// How long all threads of this process ran; in steps of 10 ms.
pub(crate) fn process_cpu() -> Duration {
    let text = fs::read_to_string("/proc/self/stat").expect("Linux");
    let behind = text.rsplit(')').next().expect("a name in brackets");
    let ticks: u64 = behind.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * ticks)
}

/// Memory of this process, KiB.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux");
    line.trim().trim_end_matches(" kB").trim().parse().expect("a number")
}

/// Bytes of the files in a folder whose names end so.
pub(crate) fn bytes_of(folder: &Path, end: &str) -> u64 {
    let files = fs::read_dir(folder).expect("a folder").filter_map(Result::ok);
    files.filter(|file| file.file_name().to_string_lossy().ends_with(end)).filter_map(|file| Some(file.metadata().ok()?.len())).sum()
}

/// One small write and its sync, as the disk takes it now.
pub(crate) fn sync_once(folder: &Path, bytes: usize) -> Duration {
    let mut file = fs::File::options().append(true).create(true).open(folder.join("sync-probe")).expect("a file");
    timed(|| file.write_all(&vec![7; bytes]).and_then(|()| file.sync_data()).expect("a disk")).1
}

pub(crate) fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

pub(crate) fn micros(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e7).round() / 10.0
}

pub(crate) fn mib(bytes: u64) -> f64 {
    (bytes as f64 / 104_857.6).round() / 10.0
}

pub(crate) fn ratio(one: f64, other: f64) -> f64 {
    (one / other * 100.0).round() / 100.0
}
