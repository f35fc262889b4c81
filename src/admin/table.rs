//! Rows for people, as an aligned table, and for programs, as JSON.

use jiff::tz::TimeZone;
use protobuf::MessageField;
use serde_json::{Map, Value};

use super::error::ToolError;
use crate::base::clock::Time;
use crate::base::escape::one_line;
use crate::base::table::aligned;
use crate::base::terminal::{Output, harmless_json};
use crate::proto::{Timestamp, time_of};

/// How a table is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Aligned, for people.
    Table,
    /// For programs.
    Json,
}

impl Format {
    /// As the flag `--json` says.
    pub(super) fn from_json_flag(json: bool) -> Format {
        if json { Format::Json } else { Format::Table }
    }
}

/// One value.
#[derive(Clone, Debug)]
pub(super) enum Cell {
    Nothing,
    Text(String),
    Number(i64),
    Time(Time),
}

impl Cell {
    pub(super) fn text(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }

    /// A time of the protocol, if there is one.
    pub(super) fn timestamp(timestamp: &MessageField<Timestamp>) -> Cell {
        timestamp.as_ref().map_or(Cell::Nothing, |timestamp| Cell::Time(time_of(timestamp)))
    }

    /// Control characters are escaped; times are local.
    fn for_people(&self) -> String {
        match self {
            Cell::Nothing => "-".to_owned(),
            Cell::Text(text) if text.is_empty() => "-".to_owned(),
            Cell::Text(text) => one_line(text),
            Cell::Number(number) => number.to_string(),
            Cell::Time(time) => stamp(*time).to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }

    /// Times are RFC 3339, UTC.
    fn for_programs(&self) -> Value {
        match self {
            Cell::Nothing => Value::Null,
            Cell::Text(text) => Value::from(text.as_str()),
            Cell::Number(number) => Value::from(*number),
            Cell::Time(time) => Value::from(stamp(*time).to_string()),
        }
    }
}

fn stamp(time: Time) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(time.as_micros()).unwrap_or_default()
}

/// Rows under one header.
#[derive(Clone, Debug)]
pub(super) struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(header: &[&'static str]) -> Table {
        Table { header: header.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// Adds a column with the same value in every row.
    pub(super) fn with_column(mut self, name: &'static str, cell: Cell) -> Table {
        self.header.push(name);
        self.rows.iter_mut().for_each(|row| row.push(cell.clone()));
        self
    }

    /// Prints a line for each row.
    pub(super) fn print(&self, format: Format) -> Result<(), ToolError> {
        let text = match format {
            Format::Table => self.lines(),
            Format::Json => harmless_json(&format!("{}\n", Value::from(self.objects()))),
        };
        Ok(Output::stdout().print(&text)?)
    }

    /// Prints a line for each value, for a table of one row; as JSON the object alone.
    pub(super) fn print_each(&self, format: Format) -> Result<(), ToolError> {
        let out = Output::stdout();
        if format == Format::Json {
            for object in self.objects() {
                out.print_line(&harmless_json(&object.to_string()))?;
            }
            return Ok(());
        }
        let widest = self.header.iter().map(|name| name.len()).max().unwrap_or(0);
        for row in &self.rows {
            for (name, cell) in self.header.iter().zip(row) {
                out.print_line(&format!("{name:<widest$}  {}", cell.for_people()))?;
            }
            out.print_line("")?;
        }
        Ok(())
    }

    fn objects(&self) -> Vec<Value> {
        let object = |row: &Vec<Cell>| {
            let named = self.header.iter().zip(row).map(|(name, cell)| (name.replace(' ', "_"), cell.for_programs()));
            Value::Object(named.collect::<Map<_, _>>())
        };
        self.rows.iter().map(object).collect()
    }

    fn lines(&self) -> String {
        let header = self.header.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>();
        let rows = self.rows.iter().map(|row| row.iter().map(Cell::for_people).collect());
        aligned(&std::iter::once(header).chain(rows).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text_width::text_width;

    fn table() -> Table {
        let mut table = Table::new(&["login", "last login", "id"]);
        table.row(vec![Cell::text("Вася"), Cell::Time(Time::from_secs(1_700_000_000)), Cell::Number(1)]);
        table.row(vec![Cell::text("a\u{1b}[2J\n漢"), Cell::Nothing, Cell::Number(20)]);
        table
    }

    #[test]
    fn columns_are_aligned_and_control_characters_escaped() {
        let lines = table().lines();
        let columns: Vec<usize> =
            lines.lines().map(|line| text_width(line[..line.rfind("  ").unwrap()].trim_end()).min(99)).collect();
        assert_eq!(lines.lines().count(), 3, "{lines}");
        assert!(lines.starts_with("LOGIN"), "{lines}");
        assert!(!lines.contains('\u{1b}'), "{lines}");
        let id_at = |line: &str| text_width(line) - text_width(line.rsplit("  ").next().unwrap());
        let at: Vec<usize> = lines.lines().map(id_at).collect();
        assert!(at.windows(2).all(|w| w[0] == w[1]), "{lines} {columns:?}");
    }

    #[test]
    fn programs_get_plain_values_with_times_in_utc() {
        let objects = Value::from(table().objects()).to_string();
        assert_eq!(
            objects,
            r#"[{"id":1,"last_login":"2023-11-14T22:13:20Z","login":"Вася"},{"id":20,"last_login":null,"login":"a\u001b[2J\n漢"}]"#
        );
    }
}
