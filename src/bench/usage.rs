//! CPU and memory use of this process and of others, read from `/proc` on Linux; unknown on other systems.

use std::fs;

/// Clock ticks per second in `/proc`. Linux always reports 100 to programs, whatever its internal clock rate.
const TICKS: f64 = 100.0;

/// Number of cores used by other processes above which a timing is unreliable.
pub const DISTURBED: f64 = 0.15;

/// Peak resident memory of this process in bytes (VmHWM); `None` if unknown.
pub fn peak_resident() -> Option<u64> {
    parse_peak(&fs::read_to_string("/proc/self/status").ok()?)
}

/// CPU seconds used since the process, or the machine, started.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    /// By all threads of this process, including those that have ended.
    pub own: f64,
    /// By all processes.
    pub all: f64,
}

impl Busy {
    /// The CPU seconds used until now; `None` if unknown.
    pub fn now() -> Option<Self> {
        let own = own_ticks(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let all = all_ticks(&fs::read_to_string("/proc/stat").ok()?)?;
        Some(Self { own: own as f64 / TICKS, all: all as f64 / TICKS })
    }

    /// Mean number of cores used by this process, and by others, between `self` and `later`, which are `seconds` apart.
    pub fn cores(self, later: Self, seconds: f64) -> (f64, f64) {
        let own = later.own - self.own;
        (own / seconds, (later.all - self.all - own).max(0.0) / seconds)
    }
}

/// CPU time that the current thread has used, in milliseconds; `None` if unknown.
pub fn thread_ms() -> Option<f64> {
    parse_thread(&fs::read_to_string("/proc/thread-self/schedstat").ok()?)
}

/// CPU milliseconds, parsed from `/proc/thread-self/schedstat`: nanoseconds running, nanoseconds waiting, time slices.
fn parse_thread(schedstat: &str) -> Option<f64> {
    Some(schedstat.split_whitespace().next()?.parse::<u64>().ok()? as f64 / 1e6)
}

/// Peak resident bytes, parsed from `/proc/self/status`.
fn parse_peak(status: &str) -> Option<u64> {
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

/// User plus system ticks, parsed from `/proc/self/stat`. Its second field, the program's name in brackets, may itself
/// contain spaces and brackets.
fn own_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// Ticks spent neither idle nor waiting for a disk, parsed from `/proc/stat`: user, nice, system, (idle, iowait,) irq,
/// softirq, steal.
fn all_ticks(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = fields.split_whitespace().map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else { return None };
    Some(user + nice + system + irq + softirq + steal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_parsed() {
        let status = "Name:\tmetaburn\nVmPeak:\t  900 kB\nVmHWM:\t   12 kB\n";
        assert_eq!(parse_peak(status), Some(12 * 1024));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 99 0 0 0 40 2 0 0 20 0 3 0 5 6 7";
        assert_eq!(own_ticks(stat), Some(42));
        assert_eq!(parse_thread("2500000 7 3\n"), Some(2.5));
        assert_eq!(all_ticks("cpu  1 2 4 8 16 32 64 128 0 0\ncpu0 1"), Some(1 + 2 + 4 + 32 + 64 + 128));
        assert!(
            parse_peak("").is_none()
                && parse_thread("").is_none()
                && own_ticks("7 (a").is_none()
                && all_ticks("cpu  1 2").is_none()
        );
    }

    #[test]
    fn cores_separate_own_use_from_others() {
        let (before, after) = (Busy { own: 1.0, all: 10.0 }, Busy { own: 4.0, all: 16.0 });
        assert_eq!(before.cores(after, 2.0), (1.5, 1.5));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn peak_includes_touched_memory() {
        let before = peak_resident().expect("/proc is readable");
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(peak_resident().expect("/proc is readable") >= block.len() as u64);
        assert!(peak_resident().expect("/proc is readable") >= before);
        assert!(Busy::now().is_some_and(|busy| busy.all >= busy.own));
    }
}
