//! Figures, for people and for programs.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::latency::Latencies;

/// Figures in the order in which they are shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(Vec<(String, Value)>);

impl Figures {
    /// Begins with the name of what was measured.
    pub(crate) fn for_scenario(scenario: &str) -> Figures {
        Figures(vec![("scenario".to_owned(), json!(scenario))])
    }

    /// Adds a count.
    pub(crate) fn count(&mut self, name: &str, count: u64) {
        self.0.push((name.to_owned(), json!(count)));
    }

    /// Adds a number, to four significant digits; leaves out `None` and numbers that are not finite.
    pub(crate) fn number(&mut self, name: &str, number: Option<f64>) {
        let Some(number) = number.filter(|number| number.is_finite()) else { return };
        let digits = if number == 0.0 { 0.0 } else { 3.0 - number.abs().log10().floor() };
        let scale = 10_f64.powf(digits.clamp(0.0, 6.0));
        self.0.push((name.to_owned(), json!((number * scale).round() / scale)));
    }

    /// Adds percentiles, in milliseconds.
    pub(crate) fn latencies(&mut self, name: &str, latencies: &mut Latencies) {
        let Some(all) = latencies.percentiles() else { return };
        for (rank, value) in [("p50", all.p50), ("p90", all.p90), ("p99", all.p99), ("max", all.max)] {
            self.number(&format!("{name}_ms_{rank}"), Some(value.as_secs_f64() * 1e3));
        }
    }

    /// One line of JSON.
    pub(crate) fn json(&self) -> String {
        Value::Object(self.0.iter().cloned().collect::<Map<_, _>>()).to_string()
    }

    /// A line for each.
    pub(crate) fn table(&self) -> String {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let lines = self.0.iter().map(|(name, value)| format!("{name:width$}  {}", shown(value)));
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// How many a second.
pub(crate) fn per_second(count: u64, took: Duration) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    (!took.is_zero()).then(|| count as f64 / took.as_secs_f64())
}

/// Microseconds for each of `count`.
pub(crate) fn micros_each(took: Duration, count: u64) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    (count > 0).then(|| took.as_secs_f64() * 1e6 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_the_same_for_people_and_programs() {
        let mut figures = Figures::for_scenario("x");
        figures.count("messages", 12);
        figures.number("rate", Some(123_456.7));
        figures.number("small", Some(0.012_345));
        figures.number("nothing", None);
        figures.number("no_number", Some(f64::NAN));
        assert_eq!(figures.table(), "scenario  x\nmessages  12\nrate      123457.0\nsmall     0.01235");
        let read: Value = serde_json::from_str(&figures.json()).unwrap();
        assert_eq!(read, json!({"scenario": "x", "messages": 12, "rate": 123_457.0, "small": 0.012_35}));
    }
}
