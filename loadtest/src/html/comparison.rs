//! The page of a comparison: a table with a bar for each ratio.

use super::{document, escape};
use crate::compare::{Change, Comparison, Line};

/// Ratios beyond this, or its inverse, fill the bar.
const RATIO_MAX: f64 = 2.0;

/// The page of comparisons of the files with these names.
pub fn comparison_page(comparisons: &[Comparison], names: &[String; 2]) -> String {
    document(
        "loadtest: comparison",
        &comparisons.iter().map(|comparison| section(comparison, names)).collect::<String>(),
    )
}

fn section(comparison: &Comparison, names: &[String; 2]) -> String {
    let count = |change: Change| comparison.lines.iter().filter(|line| line.change == change).count();
    let (better, worse) = (count(Change::Better), count(Change::Worse));
    let class = if worse > 0 { "bad" } else { "good" };
    let rows: String = comparison.lines.iter().map(row).collect();
    let cautions: String = comparison.cautions.iter().map(|caution| format!("<li>{}</li>", escape(caution))).collect();
    let cautions = match cautions.is_empty() {
        true => String::new(),
        false => format!("<div class=\"finding warn\"><h2>Compare with care</h2><ul>{cautions}</ul></div>"),
    };
    format!(
        "<main><header><p class=\"over\">FleetLM load test, two runs</p><h1>{}</h1>\
         <p class=\"verdict {class}\">{better} better, {worse} worse</p>\
         <p class=\"quiet\">A: {} · B: {}</p></header>{cautions}\
         <div class=\"wide\"><table class=\"compare\"><thead><tr><th></th><th>A</th><th>B</th><th>B / A</th><th></th><th></th></tr></thead>\
         <tbody>{rows}</tbody></table></div></main>\n",
        escape(&comparison.scenario),
        escape(&names[0]),
        escape(&names[1])
    )
}

fn row(line: &Line) -> String {
    let [before, after] = line.values();
    let ratio = line.ratio().map_or("–".to_owned(), |ratio| format!("{ratio:.3}"));
    let class = match line.change {
        Change::Better => "better",
        Change::Worse => "worse",
        Change::Same | Change::Few | Change::Neutral => "same",
    };
    let word = match line.change {
        Change::Worse => "worse".to_owned(),
        other => other.to_string(),
    };
    format!(
        "<tr class=\"{class}\"><th>{}</th><td>{}</td><td>{}</td><td>{ratio}</td><td>{}</td><td>{word}</td></tr>",
        escape(&line.name),
        escape(&before),
        escape(&after),
        line.ratio().map_or(String::new(), bar)
    )
}

/// A bar from the middle, as long as the logarithm of the ratio.
fn bar(ratio: f64) -> String {
    let share = (ratio.max(1e-9).log2() / RATIO_MAX.log2()).clamp(-1.0, 1.0);
    let (left, width) = if share < 0.0 { (50.0 + share * 48.0, -share * 48.0) } else { (50.0, share * 48.0) };
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 10\"><path class=\"axis\" d=\"M50 0V10\"/>\
         <rect x=\"{left:.1}\" y=\"2\" width=\"{width:.1}\" height=\"6\" rx=\"1\"/></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{outcome, report};

    #[test]
    fn the_page_shows_every_line_and_escapes_names() {
        let comparison = Comparison::new(&report(outcome()), &report(outcome()), 5.0);
        let names = ["<a>.json".to_owned(), "b.json".to_owned()];
        let page = comparison_page(std::slice::from_ref(&comparison), &names);
        assert!(!page.contains("<a>.json") && page.contains("&lt;a&gt;.json"));
        assert_eq!(page.matches("<tr class=").count(), comparison.lines.len());
    }

    #[test]
    fn a_bar_grows_from_the_middle_to_either_side() {
        assert!(bar(1.0).contains("x=\"50.0\" y=\"2\" width=\"0.0\""));
        assert!(bar(2.0).contains("x=\"50.0\" y=\"2\" width=\"48.0\""));
        assert!(bar(0.0).contains("x=\"2.0\" y=\"2\" width=\"48.0\""));
    }
}
