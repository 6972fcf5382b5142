//! Reports as one page for a browser: nothing is loaded from anywhere, nothing needs a script, all text is escaped.
//!
//! Light or dark as the reader's system is. What the figures mean is `report`'s; how lines are drawn is `chart`'s.

mod chart;
mod comparison;
mod plots;

use crate::figures::{Bytes, Grouped, Time};
use crate::report::{Generator, Origin, Report, SEND_LAG, Verdict};
pub use comparison::comparison_page;
use std::fmt::Write;

/// What every page has; its policy forbids all that it does not need, which is all but its own style.
const PAGE: &str = include_str!("html/page.html");
/// Colours and places, light and dark.
const STYLE: &str = include_str!("html/style.css");

/// The page of some reports, one section each.
pub fn page(reports: &[Report]) -> String {
    let names: Vec<_> = reports.iter().map(|report| report.scenario.as_str()).collect();
    document(&format!("loadtest: {}", names.join(", ")), &reports.iter().map(section).collect::<String>())
}

/// The frame of every page.
fn document(title: &str, body: &str) -> String {
    // The body comes last: nothing in it is taken for a place.
    PAGE.replace("{title}", &escape(title)).replace("{style}", STYLE).replace("{body}", body)
}

/// Text as HTML and its attributes take it.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
        out
    })
}

fn section(report: &Report) -> String {
    [
        "<main>\n".to_owned(),
        heading(report),
        tiles(report),
        findings(report),
        latency_table(report),
        plots::all(report),
        counts_table(report),
        setup(report),
        "</main>\n".to_owned(),
    ]
    .concat()
}

fn heading(report: &Report) -> String {
    let (class, verdict) = match report.verdict() {
        Verdict::Clean | Verdict::Worse => ("good", "every promise kept"),
        Verdict::Failed => ("bad", "requests failed"),
        Verdict::Broken => ("bad", "promises broken"),
    };
    let when = report.origins.first().map_or(String::new(), |origin| date(origin.unix_s));
    let runs = match report.origins.len() {
        1 => String::new(),
        many => format!(" · {many} generators added up"),
    };
    format!(
        "<header><p class=\"over\">FleetLM load test</p><h1>{}</h1><p class=\"verdict {class}\">{verdict}</p>\
         <p class=\"quiet\">{when} · {:.1} s measured{runs}</p></header>\n",
        escape(&report.scenario),
        report.window_s
    )
}

/// Seconds since 1970 as a date in UTC (Howard Hinnant's civil_from_days).
fn date(unix_s: u64) -> String {
    let (days, second) = ((unix_s / 86_400) as i64 + 719_468, unix_s % 86_400);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", second / 3600, second / 60 % 60)
}

/// The few figures that one wants first: what was done per second, and how long the main operation took.
fn tiles(report: &Report) -> String {
    let mut tiles = String::new();
    let mut tile = |value: String, name: &str| {
        write!(tiles, "<div class=\"tile\"><b>{}</b><span>{}</span></div>", escape(&value), escape(name))
            .expect("a String takes all");
    };
    let mut counts: Vec<_> = report.counts.iter().filter(|(name, _)| *name != "bytes").collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(count.count));
    for (name, count) in counts.into_iter().take(2) {
        tile(Grouped(count.per_s.round()).to_string(), &format!("{name} per second"));
    }
    let own = report.latencies.iter().filter(|(name, _)| *name != SEND_LAG);
    if let Some((name, measured)) = own.max_by_key(|(_, measured)| measured.latency.count()) {
        let p = measured.latency.percentiles();
        tile(Time(p.p50_us).to_string(), &format!("{name}, median"));
        tile(Time(p.p99_us).to_string(), &format!("{name}, p99"));
        tile(Time(p.max_us).to_string(), &format!("{name}, slowest"));
    }
    tile(Grouped(report.integrity.checked as f64).to_string(), "answers verified");
    format!("<div class=\"tiles\">{tiles}</div>\n")
}

/// Broken promises, errors and warnings, when there are any.
fn findings(report: &Report) -> String {
    let mut out = String::new();
    let mut list = |class: &str, title: &str, items: &[String]| {
        let items: String = items.iter().map(|item| format!("<li>{}</li>", escape(item))).collect();
        write!(out, "<div class=\"finding {class}\"><h2>{}</h2><ul>{items}</ul></div>", escape(title))
            .expect("a String takes all");
    };
    if !report.integrity.is_whole() {
        let kinds: Vec<_> = report.integrity.violations.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        list("bad", &format!("Broken promises: {}", kinds.join(", ")), &report.integrity.examples);
    }
    if report.integrity.checked == 0 {
        list("bad", "Nothing was verified", &[]);
    }
    if report.errors > 0 {
        list("bad", &format!("{} errors", report.errors), &report.error_examples);
    }
    if !report.warnings.is_empty() {
        list("warn", "Read the figures with care", &report.warnings);
    }
    out
}

fn latency_table(report: &Report) -> String {
    if report.latencies.is_empty() {
        return String::new();
    }
    let row = |(name, measured): (&String, &crate::report::Measured)| {
        let p = measured.latency.percentiles();
        let times =
            [p.p50_us, p.p90_us, p.p99_us, p.p99_9_us, p.max_us].map(|us| format!("<td>{}</td>", Time(us))).concat();
        format!("<tr><th>{}</th>{times}<td>{}</td></tr>", escape(name), Grouped(p.count as f64))
    };
    let rows: String = report.latencies.iter().map(row).collect();
    format!(
        "<h2>Latency</h2><div class=\"wide\"><table><thead><tr><th></th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th>\
         <th>count</th></tr></thead><tbody>{rows}</tbody></table></div>\n"
    )
}

fn counts_table(report: &Report) -> String {
    let Generator { threads, cpus_used, busiest } = report.generator;
    let mut rows = String::new();
    let mut row = |name: &str, cells: [String; 2]| {
        let cells = cells.map(|cell| format!("<td>{}</td>", escape(&cell))).concat();
        write!(rows, "<tr><th>{}</th>{cells}</tr>", escape(name)).expect("a String takes all");
    };
    for (name, count) in &report.counts {
        row(name, [Grouped(count.count as f64).to_string(), format!("{}/s", Grouped(count.per_s))]);
    }
    for (name, figure) in &report.figures {
        row(name, [Grouped(*figure).to_string(), String::new()]);
    }
    row("generator", [format!("{cpus_used:.2} CPUs of {threads}"), format!("busiest thread {:.0} %", busiest * 100.0)]);
    if let Some(server) = &report.server {
        let [rss, anon] = [server.memory.rss_bytes, server.memory.anon_bytes].map(|bytes| Bytes(bytes as f64));
        row("server", [format!("{:.2} CPUs", server.cpus_used), format!("{rss} resident, {anon} of it its own")]);
    }
    format!("<h2>Figures</h2><div class=\"wide\"><table><tbody>{rows}</tbody></table></div>\n")
}

fn setup(report: &Report) -> String {
    let mut out = "<h2>How it was measured</h2>\n".to_owned();
    report.origins.iter().for_each(|origin| out += &setup_of(origin));
    let options: String = report
        .options
        .iter()
        .map(|(name, value)| {
            format!("<li><span>{}</span> {}</li>", escape(&name.replace('_', " ")), escape(&value.to_string()))
        })
        .collect();
    format!("{out}<ul class=\"options\">{options}</ul>\n")
}

fn setup_of(origin: &Origin) -> String {
    let machine = &origin.machine;
    let unknown = || "unknown".to_owned();
    let facts = [
        ("Processor", format!("{}, {} CPUs", machine.cpu_model, machine.cpus)),
        ("Memory", Bytes(machine.memory_bytes as f64).to_string()),
        ("Kernel", machine.kernel.clone()),
        ("Data folder", origin.data_filesystem.clone().unwrap_or_else(unknown)),
        ("Server", origin.server_version.as_ref().map_or_else(unknown, |version| format!("FleetLM {version}"))),
        ("Generator", format!("loadtest {}", origin.generator_version)),
    ];
    let facts = facts.map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(&value))).concat();
    format!("<pre><code>{}</code></pre>\n<dl>{facts}</dl>\n", escape(&origin.command))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{outcome, report};
    use crate::verify::Violation;

    const HOSTILE: &str = "<script>alert('\"&')</script>";

    #[test]
    fn every_text_is_escaped() {
        let mut found = outcome();
        found.integrity.report(Violation::Lost, || HOSTILE.into());
        found.error(HOSTILE.into());
        found.warnings.push(HOSTILE.into());
        found.latencies.insert(HOSTILE.into(), found.latencies["ack"].clone());
        let mut hostile = report(found);
        hostile.scenario = HOSTILE.into();
        hostile.options.insert(HOSTILE.into(), HOSTILE.into());
        hostile.counts.insert(HOSTILE.into(), hostile.counts["acks"]);
        hostile.figures.insert(HOSTILE.into(), 1.0);
        let origin = &mut hostile.origins[0];
        origin.command = HOSTILE.into();
        origin.server_version = Some(HOSTILE.into());
        origin.generator_version = HOSTILE.into();
        origin.data_filesystem = Some(HOSTILE.into());
        origin.machine.cpu_model = HOSTILE.into();
        origin.machine.kernel = HOSTILE.into();
        let page = page(&[hostile]);
        assert!(!page.contains("<script") && !page.contains("alert('"), "{page}");
        assert!(page.matches("&lt;script&gt;alert(&#39;&quot;&amp;").count() >= 12);
    }

    #[test]
    fn the_page_needs_nothing_from_anywhere() {
        let page = page(&[report(outcome()), report(outcome())]);
        for foreign in ["http:", "https:", "src=", "href=", "url(", "@import", "<script", "<link", "<img"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        assert!(page.contains("Content-Security-Policy") && page.contains("prefers-color-scheme: dark"));
        assert_eq!(page.matches("<main>").count(), 2);
    }

    #[test]
    fn a_run_with_nothing_in_it_can_be_drawn() {
        let page = page(&[report(crate::run::Outcome::default())]);
        assert!(page.contains("Nothing was verified") && !page.contains("NaN") && !page.contains("inf"), "{page}");
    }

    #[test]
    fn dates_are_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_795_351_500), "2026-11-22 12:45 UTC");
    }
}
