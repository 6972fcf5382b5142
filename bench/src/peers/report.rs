//! What the rounds came to: samples, medians with their range, ratios, tables.
//!
//! Ratios are taken within a round, between neighbours in time, and their median is told; so whatever else the machine did for a while hits
//! both sides. A contender that is missing or failed keeps its row.

use crate::quiet::FOREIGN_SHARE_MAX;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// Figures of one contender in one round, by name. Names end with their unit.
pub type Sample = BTreeMap<&'static str, f64>;

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Column {
    /// The figure's name in the samples.
    pub figure: &'static str,
    /// Above the column.
    pub title: &'static str,
    /// Digits behind the point.
    pub digits: usize,
    /// Whether the range of the rounds is told.
    pub range: bool,
}

impl Column {
    /// A column with the median alone.
    pub const fn new(figure: &'static str, title: &'static str, digits: usize) -> Self {
        Self { figure, title, digits, range: false }
    }

    /// A column with the median and the range.
    pub const fn ranged(figure: &'static str, title: &'static str, digits: usize) -> Self {
        Self { figure, title, digits, range: true }
    }
}

/// A ratio that a table tells for each row, of the figures of the same round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// What is compared.
    pub figure: &'static str,
    /// The row that all are compared with.
    pub with: String,
    /// Whether that row stands above the line.
    pub above: bool,
}

impl Ratio {
    /// The row of this name over each row.
    pub fn of(with: impl Into<String>, figure: &'static str) -> Self {
        Self { figure, with: with.into(), above: true }
    }

    /// Each row over the row of this name.
    pub fn over(with: impl Into<String>, figure: &'static str) -> Self {
        Self { figure, with: with.into(), above: false }
    }

    fn title(&self, columns: &[Column]) -> String {
        let figure =
            columns.iter().find(|column| column.figure == self.figure).map_or(self.figure, |column| column.title);
        if self.above { format!("{figure}: {} / this", self.with) } else { format!("{figure}: this / {}", self.with) }
    }
}

/// One contender in all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it was set to.
    pub setting: String,
    /// Its samples by round; `None` where it was left out.
    pub rounds: Vec<Option<Sample>>,
    /// Why it was left out: how to install it, or what went wrong.
    pub trouble: Option<String>,
    /// Whether it went wrong, rather than being missing.
    pub failed: bool,
}

/// All contenders at one work.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The work's name on the command line.
    pub work: String,
    /// What was done, in one sentence.
    pub title: String,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Ratios behind the columns.
    pub ratios: Vec<Ratio>,
    /// Ours first.
    pub rows: Vec<Row>,
}

/// Median and range.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of these values; `None` without one.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let even = values.len().is_multiple_of(2);
        let median = if even { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] };
        Some(Self { median, min, max })
    }
}

impl Row {
    /// A figure over the rounds.
    pub fn figure(&self, name: &str) -> Option<Spread> {
        Spread::of(self.rounds.iter().flatten().filter_map(|sample| sample.get(name).copied()).collect())
    }

    /// This row's figure over the other row's, round by round.
    pub fn ratio(&self, other: &Self, name: &str) -> Option<Spread> {
        let pairs = self.rounds.iter().zip(&other.rounds);
        let ratios = pairs.filter_map(|(ours, theirs)| {
            Some(ours.as_ref()?.get(name)? / theirs.as_ref()?.get(name).filter(|value| **value > 0.0)?)
        });
        Spread::of(ratios.collect())
    }
}

impl Table {
    /// The row of this name.
    pub fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let columns = self.columns.iter().map(|column| cell(row, *column));
        columns.chain(self.ratios.iter().map(|ratio| self.ratio(row, ratio))).collect()
    }

    fn ratio(&self, row: &Row, ratio: &Ratio) -> String {
        let Some(with) = self.row(&ratio.with) else { return "-".to_owned() };
        let (above, below) = if ratio.above { (with, row) } else { (row, with) };
        let told = |Spread { median, min, max }| format!("{median:.2} [{min:.2}..{max:.2}]");
        above.ratio(below, ratio.figure).map_or_else(|| "-".to_owned(), told)
    }

    /// As a table of Markdown, which is also readable as it stands.
    fn markdown(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = self.columns.iter().map(|column| column.title.to_owned());
        let titles = titles.chain(self.ratios.iter().map(|ratio| ratio.title(&self.columns)));
        let mut lines = vec![std::iter::once(String::new()).chain(titles).collect::<Vec<_>>()];
        for row in &self.rows {
            let mut line = vec![row.name.clone()];
            line.extend(self.cells(row));
            lines.push(line);
        }
        let widths: Vec<usize> =
            (0..lines[0].len()).map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0)).collect();
        for (number, line) in lines.iter().enumerate() {
            let padded = line.iter().zip(&widths).enumerate().map(|(i, (cell, width))| match i {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            writeln!(f, "| {} |", padded.collect::<Vec<_>>().join(" | "))?;
            if number == 0 {
                let rules = widths.iter().enumerate().map(|(i, width)| match i {
                    0 => "-".repeat(width + 2),
                    _ => "-".repeat(width + 1) + ":",
                });
                writeln!(f, "|{}|", rules.collect::<Vec<_>>().join("|"))?;
            }
        }
        Ok(())
    }
}

fn cell(row: &Row, column: Column) -> String {
    let Some(Spread { median, min, max }) = row.figure(column.figure) else { return "-".to_owned() };
    let digits = column.digits;
    if column.range && row.rounds.len() > 1 {
        format!("{median:.digits$} [{min:.digits$}..{max:.digits$}]")
    } else {
        format!("{median:.digits$}")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "## {}\n\n{}\n", self.work, self.title)?;
        self.markdown(f)?;
        writeln!(f)?;
        for row in &self.rows {
            match &row.trouble {
                Some(trouble) => writeln!(f, "- {}: LEFT OUT: {trouble}", row.name)?,
                None => writeln!(f, "- {}: {}", row.name, row.setting)?,
            }
        }
        let disturbed = self.rows.iter().filter_map(|row| Some((row, row.figure("foreign_cpu_share")?.max)));
        for (row, share) in disturbed.filter(|(_, share)| *share > FOREIGN_SHARE_MAX) {
            writeln!(f, "- DISTURBED: {}: other work took {share:.2} cores in one of its turns", row.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, values: &[f64]) -> Row {
        let rounds = values.iter().map(|value| Some(Sample::from([("per_s", *value)]))).collect();
        Row { name: name.to_owned(), setting: "so".to_owned(), rounds, trouble: None, failed: false }
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // Both were slowed down tenfold in the second round.
        let ratio = row("a", &[100.0, 10.0, 90.0]).ratio(&row("b", &[50.0, 5.0, 30.0]), "per_s").unwrap();
        assert_eq!(ratio, Spread { median: 2.0, min: 2.0, max: 3.0 });
    }

    #[test]
    fn a_round_that_is_missing_on_one_side_has_no_ratio() {
        let mut gone = row("b", &[50.0, 5.0]);
        gone.rounds[0] = None;
        assert_eq!(row("a", &[1.0, 10.0]).ratio(&gone, "per_s").unwrap().median, 2.0);
        assert_eq!(row("a", &[1.0]).ratio(&row("b", &[0.0]), "per_s"), None);
    }

    #[test]
    fn who_is_left_out_keeps_a_row_that_says_why() {
        let mut gone = row("b", &[]);
        gone.trouble = Some("apt-get install b".to_owned());
        let columns = vec![Column::ranged("per_s", "per second", 0)];
        let (work, title) = ("w".to_owned(), "t".to_owned());
        let ratios = vec![Ratio::of("a", "per_s"), Ratio::over("nobody", "per_s")];
        let table = Table { work, title, columns, ratios, rows: vec![row("a", &[1.0, 3.0]), gone] };
        let text = table.to_string();
        assert!(text.contains("2 [1..3]") && text.contains("- b: LEFT OUT: apt-get install b"), "{text}");
        assert!(
            text.contains("| per second: a / this | per second: this / nobody |")
                && text.contains("1.00 [1.00..1.00] |"),
            "{text}"
        );
    }
}
