//! The system's limit on open files.

use std::fs;

use rustix::process::{self, Resource, Rlimit};

/// Raises the limit on open files to `wanted`, as far as the system allows, and returns the limit that then holds.
pub(super) fn raise_to(wanted: usize) -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let Some((soft, hard)) = parse(&limits) else { return wanted };
    let new = wanted.min(hard);
    if soft >= new {
        return soft;
    }
    let limit = |n: usize| (n != usize::MAX).then_some(n as u64);
    match process::setrlimit(Resource::Nofile, Rlimit { current: limit(new), maximum: limit(hard) }) {
        Ok(()) => new,
        Err(_) => soft,
    }
}

/// How many files are open.
pub(super) fn count() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The soft and the hard limit, as the system writes them.
fn parse(limits: &str) -> Option<(usize, usize)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let number = |text: &str| if text == "unlimited" { Some(usize::MAX) } else { text.parse().ok() };
    let mut columns = line.split_ascii_whitespace();
    Some((number(columns.next()?)?, number(columns.next()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_read() {
        let text = "Limit                     Soft Limit           Hard Limit           Units\n\
                    Max open files            1024                 524288               files\n";
        assert_eq!(parse(text), Some((1024, 524_288)));
        assert_eq!(parse("Max open files  1024  unlimited  files"), Some((1024, usize::MAX)));
        assert_eq!(parse(""), None);
    }
}
