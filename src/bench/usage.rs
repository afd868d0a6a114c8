//! What this process and its neighbours take of the machine. Linux says so under `/proc`; elsewhere
//! nothing is known.

use std::fs;

/// Clock ticks a second in `/proc`: Linux shows 100 to programs whatever its own clock does.
const TICKS: f64 = 100.0;

/// Cores kept busy by others beyond which a time means little.
pub const DISTURBED: f64 = 0.15;

/// The most bytes of this process that were ever resident (VmHWM).
pub fn peak_resident() -> Option<u64> {
    high_water(&fs::read_to_string("/proc/self/status").ok()?)
}

/// CPU seconds used since the machine, or the process, started.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    /// By all threads of this process, those that have ended too.
    pub own: f64,
    /// By every process.
    pub all: f64,
}

impl Busy {
    /// Until now.
    pub fn now() -> Option<Self> {
        let own = own_ticks(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let all = all_ticks(&fs::read_to_string("/proc/stat").ok()?)?;
        Some(Self { own: own as f64 / TICKS, all: all as f64 / TICKS })
    }

    /// Cores kept busy by this process, and by others, from `self` until `later`, `seconds` after it.
    pub fn cores(self, later: Self, seconds: f64) -> (f64, f64) {
        let own = later.own - self.own;
        (own / seconds, (later.all - self.all - own).max(0.0) / seconds)
    }
}

/// Bytes, of the lines of `/proc/self/status`.
fn high_water(status: &str) -> Option<u64> {
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * kibibytes.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

/// User and system time, of `/proc/self/stat`. The second field is the program's name in brackets, and
/// may hold both spaces and brackets.
fn own_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// Time not idle and not waiting for a disk, of `/proc/stat`: user, nice, system, (idle, iowait,) irq,
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
    fn the_files_of_linux_are_read() {
        let status = "Name:\tmetaburn\nVmPeak:\t  900 kB\nVmHWM:\t   12 kB\n";
        assert_eq!(high_water(status), Some(12 * 1024));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 99 0 0 0 40 2 0 0 20 0 3 0 5 6 7";
        assert_eq!(own_ticks(stat), Some(42));
        assert_eq!(all_ticks("cpu  1 2 4 8 16 32 64 128 0 0\ncpu0 1"), Some(1 + 2 + 4 + 32 + 64 + 128));
        assert!(high_water("").is_none() && own_ticks("7 (a").is_none() && all_ticks("cpu  1 2").is_none());
    }

    #[test]
    fn neighbours_are_what_we_did_not_use() {
        let (before, after) = (Busy { own: 1.0, all: 10.0 }, Busy { own: 4.0, all: 16.0 });
        assert_eq!(before.cores(after, 2.0), (1.5, 1.5));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_peak_knows_of_memory_that_was_touched() {
        let before = peak_resident().expect("Linux says");
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(peak_resident().expect("Linux says") >= block.len() as u64);
        assert!(peak_resident().expect("Linux says") >= before);
        assert!(Busy::now().is_some_and(|busy| busy.all >= busy.own));
    }
}
