//! Lines in a frame, as inline SVG: axes, a grid, a legend, and a text for the pointer. Drawn with classes only, so that
//! the page's style decides on colours.

use super::escape;
use std::fmt::Write;

/// Width of a drawing, in its own units: with the text of 12 units it is readable from 400 pixels on.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 30.0;
/// Colours that the style has; further lines begin again, dashed.
const COLORS: usize = 6;

/// An axis: from where to where, and what is written beside it.
#[derive(Clone, Debug)]
pub struct Axis {
    from: f64,
    to: f64,
    is_log: bool,
    /// Where a grid line is, and its text.
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// With these ticks.
    pub fn marked(from: f64, to: f64, ticks: Vec<(f64, String)>) -> Self {
        Self { from, to: if to > from { to } else { from + 1.0 }, is_log: false, ticks }
    }

    /// From zero to a round number that is at least `max`.
    pub fn linear(max: f64, text: impl Fn(f64) -> String) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_step(max / 4.0);
        let steps = (max / step).ceil().max(1.0);
        let ticks = (0..=steps as u32).map(|tick| f64::from(tick) * step).map(|at| (at, text(at))).collect();
        Self::marked(0.0, steps * step, ticks)
    }

    /// Like [`Axis::linear`] but ending at `max` itself: for time.
    pub fn time(max: f64, text: impl Fn(f64) -> String) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_step(max / 5.0);
        let ticks = (0..=(max / step) as u32).map(|tick| f64::from(tick) * step).map(|at| (at, text(at))).collect();
        Self::marked(0.0, max, ticks)
    }

    /// Logarithmic, over all `values` above zero, with ticks at 1, 2 and 5 of a decade or, over many decades, at 1.
    pub fn log(values: impl Iterator<Item = f64>, text: impl Fn(f64) -> String) -> Self {
        let (min, max) = values
            .filter(|value| *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(min, max), value| (min.min(value), max.max(value)));
        let (min, max) = if min.is_finite() { (min, max) } else { (1.0, 10.0) };
        let decades = min.log10().floor() as i32..=max.log10().floor() as i32 + 1;
        let marks = |marks: &'static [f64]| {
            decades
                .clone()
                .flat_map(move |decade| marks.iter().map(move |mark| mark * 10_f64.powi(decade)))
                .collect::<Vec<_>>()
        };
        let fine = marks(&[1.0, 2.0, 5.0]);
        let from = fine.iter().copied().rfind(|tick| *tick <= min).unwrap_or(min);
        let to = fine.iter().copied().find(|tick| *tick >= max).unwrap_or(max);
        let shown = if (max / min).log10() > 2.5 { marks(&[1.0]) } else { fine };
        let ticks = shown.into_iter().filter(|tick| (from..=to).contains(tick)).map(|at| (at, text(at))).collect();
        Self { is_log: true, ..Self::marked(from, to, ticks) }
    }

    /// Where `value` is, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let share = if self.is_log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        share.clamp(0.0, 1.0)
    }
}

/// A step of 1, 2 or 5 of a decade that is at least `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|mark| mark * decade)
        .find(|mark| *mark >= step * 0.999)
        .unwrap_or(decade * 10.0)
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// As the legend names it.
    pub name: String,
    /// Left to right.
    pub points: Vec<(f64, f64)>,
}

/// A drawing.
pub struct Chart {
    /// Above it.
    pub title: String,
    /// Below that, in words.
    pub note: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn.
    pub lines: Vec<Line>,
    /// Places to the right with a text for the pointer.
    pub hints: Vec<(f64, String)>,
}

impl Chart {
    /// As HTML.
    pub fn draw(&self) -> String {
        format!(
            "<figure><figcaption><b>{}</b><span>{}</span></figcaption>{}\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">{}{}{}</svg></figure>\n",
            escape(&self.title),
            escape(&self.note),
            self.legend(),
            escape(&self.title),
            self.grid(),
            self.paths(),
            self.pointer_texts()
        )
    }

    fn left(&self, x: f64) -> f64 {
        LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT)
    }

    fn top(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(y) * (HEIGHT - TOP - BOTTOM)
    }

    fn legend(&self) -> String {
        let entry =
            |(place, line): (usize, &Line)| format!("<li class=\"{}\">{}</li>", class(place), escape(&line.name));
        let entries: String = self.lines.iter().enumerate().map(entry).collect();
        if self.lines.len() > 1 { format!("<ul class=\"legend\">{entries}</ul>") } else { String::new() }
    }

    fn grid(&self) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let mut out = String::new();
        for (y, text) in &self.y.ticks {
            let (top, text) = (self.top(*y), escape(text));
            write!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {top:.1}H{right}\"/><text class=\"y\" x=\"{}\" y=\"{:.1}\">{text}</text>",
                LEFT - 8.0,
                top + 4.0
            )
            .expect("a String takes all");
        }
        for (x, text) in &self.x.ticks {
            let (left, text) = (self.left(*x), escape(text));
            write!(
                out,
                "<path class=\"grid\" d=\"M{left:.1} {bottom}v4\"/><text class=\"x\" x=\"{left:.1}\" y=\"{}\">{text}</text>",
                bottom + 18.0
            )
            .expect("a String takes all");
        }
        write!(out, "<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\"/>").expect("a String takes all");
        out
    }

    fn paths(&self) -> String {
        let path = |(place, line): (usize, &Line)| {
            let point = |(step, (x, y)): (usize, &(f64, f64))| {
                format!("{}{:.1} {:.1}", if step == 0 { "M" } else { "L" }, self.left(*x), self.top(*y))
            };
            let steps: String = line.points.iter().enumerate().map(point).collect();
            match line.points[..] {
                // A line of one point would not be seen.
                [(x, y)] => format!(
                    "<circle class=\"{}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
                    class(place),
                    self.left(x),
                    self.top(y)
                ),
                _ => format!("<path class=\"line {}\" d=\"{steps}\"/>", class(place)),
            }
        };
        // The first line is the one that matters most: it is drawn last, on top.
        self.lines.iter().enumerate().filter(|(_, line)| !line.points.is_empty()).map(path).rev().collect()
    }

    /// Columns that are not seen until the pointer is on them, with the values there.
    fn pointer_texts(&self) -> String {
        let width = (WIDTH - LEFT - RIGHT) / self.hints.len().max(1) as f64;
        let column = |(x, text): &(f64, String)| {
            let left = self.left(*x);
            format!(
                "<g class=\"hint\"><rect x=\"{:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{}\"/><path d=\"M{left:.1} {TOP}V{}\"/>\
                 <title>{}</title></g>",
                left - width / 2.0,
                HEIGHT - TOP - BOTTOM,
                HEIGHT - BOTTOM,
                escape(text)
            )
        };
        self.hints.iter().map(column).collect()
    }
}

fn class(place: usize) -> String {
    format!("c{}{}", place % COLORS, if place < COLORS { "" } else { " again" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<f64> {
        axis.ticks.iter().map(|(at, _)| *at).collect()
    }

    #[test]
    fn axes_have_few_round_ticks_that_hold_all_values() {
        let text = |at: f64| at.to_string();
        assert_eq!(ticks(&Axis::linear(153_000.0, text)), [0.0, 50_000.0, 100_000.0, 150_000.0, 200_000.0]);
        assert_eq!(ticks(&Axis::linear(0.0, text)), [0.0, 0.5, 1.0]);
        assert_eq!(ticks(&Axis::time(10.0, text)), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(&Axis::log([130.0, 900.0].into_iter(), text)), [100.0, 200.0, 500.0, 1000.0]);
        assert_eq!(ticks(&Axis::log([15.0, 90_000.0].into_iter(), text)), [10.0, 100.0, 1000.0, 10_000.0, 100_000.0]);
        assert_eq!(ticks(&Axis::log([0.0].into_iter(), text)).first(), Some(&1.0));
    }

    #[test]
    fn places_go_from_0_to_1_whatever_the_value() {
        let linear = Axis::linear(10.0, |at| at.to_string());
        assert_eq!([-5.0, 0.0, 5.0, 10.0, 99.0].map(|value| linear.place(value)), [0.0, 0.0, 0.5, 1.0, 1.0]);
        let log = Axis::log([1.0, 100.0].into_iter(), |at| at.to_string());
        assert_eq!([0.0, 1.0, 10.0, 100.0].map(|value| log.place(value)), [0.0, 0.0, 0.5, 1.0]);
    }
}
