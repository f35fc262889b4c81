//! How long things took.

use std::time::Duration;

/// Every measured time in microseconds: four bytes each, and exact.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(Vec<u32>);

/// The percentiles that are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Percentiles {
    /// Half took no longer.
    pub(crate) p50: Duration,
    /// Nine of ten took no longer.
    pub(crate) p90: Duration,
    /// 99 of a hundred took no longer.
    pub(crate) p99: Duration,
    /// The longest.
    pub(crate) max: Duration,
}

impl Latencies {
    /// Adds a time.
    pub(crate) fn note(&mut self, micros: u64) {
        self.0.push(u32::try_from(micros).unwrap_or(u32::MAX));
    }

    /// The percentiles by nearest rank; `None` if nothing was measured.
    pub(crate) fn percentiles(&mut self) -> Option<Percentiles> {
        self.0.sort_unstable();
        let last = self.0.len().checked_sub(1)?;
        let at = |per_cent: usize| {
            let rank = (self.0.len() * per_cent).div_ceil(100).saturating_sub(1);
            Duration::from_micros(self.0[rank.min(last)].into())
        };
        Some(Percentiles { p50: at(50), p90: at(90), p99: at(99), max: at(100) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_the_nearest_ranks() {
        let percentiles = |micros: &[u64]| {
            let mut latencies = Latencies::default();
            micros.iter().for_each(|&m| latencies.note(m));
            latencies.percentiles().map(|p| [p.p50, p.p90, p.p99, p.max].map(|d| d.as_micros()))
        };
        assert_eq!(percentiles(&[]), None);
        assert_eq!(percentiles(&[7]), Some([7; 4]));
        assert_eq!(percentiles(&[2, 1]), Some([1, 2, 2, 2]));
        let hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(percentiles(&hundred), Some([50, 90, 99, 100]));
        assert_eq!(
            percentiles(&[u64::MAX]).unwrap()[3],
            u128::from(u32::MAX),
            "an hour and more are counted as the same"
        );
    }
}
