//! What a process has used, as `/proc` tells (proc(5)).

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What a process has used so far, and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time, in its own code and in the kernel. The kernel counts hundredths of a second.
    pub(crate) cpu: Duration,
    /// Resident memory in bytes.
    pub(crate) rss: u64,
    /// Its threads.
    pub(crate) threads: u64,
    /// Its open files.
    pub(crate) files: u64,
}

/// The usage of a process.
///
/// # Errors
/// There is no such process, or it may not be examined.
pub(crate) fn usage(pid: u32) -> io::Result<Usage> {
    let path = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid} is not as it should be"));
    let status = fs::read_to_string(path("status"))?;
    let cpu =
        cpu(&fs::read_to_string(path("stat"))?, rustix::param::clock_ticks_per_second()).ok_or_else(unreadable)?;
    Ok(Usage {
        cpu,
        rss: field(&status, "VmRSS").ok_or_else(unreadable)? * 1024,
        threads: field(&status, "Threads").ok_or_else(unreadable)?,
        files: fs::read_dir(path("fd"))?.count() as u64,
    })
}

/// `utime` and `stime` of `/proc/PID/stat`. The name before them may hold any character, spaces and brackets too.
fn cpu(stat: &str, ticks_per_second: u64) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_micros(ticks * 1_000_000 / ticks_per_second.max(1)))
}

/// A number in `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name_of_the_program() {
        let stat = "1234 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 150 50 13 14 15 16 17 18";
        assert_eq!(cpu(stat, 100), Some(Duration::from_secs(2)));
        assert_eq!(cpu("1234 (x) R 1", 100), None);
        assert_eq!(cpu("", 100), None);
    }

    #[test]
    fn status_is_read_by_the_whole_name_of_a_field() {
        let status = "Name:\tx\nVmRSSother:\t9 kB\nVmRSS:\t  1234 kB\nThreads:\t7\n";
        assert_eq!((field(status, "VmRSS"), field(status, "Threads")), (Some(1234), Some(7)));
        assert_eq!(field(status, "Vm"), None);
    }

    #[test]
    fn the_usage_of_this_process_is_known() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.rss > 0 && usage.threads > 0 && usage.files > 0);
    }
}
