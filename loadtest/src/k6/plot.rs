//! A plot of lines as SVG: axes with units, a legend, marks where something began. Small enough for a phone's width, and
//! nothing in it comes from elsewhere, so that it can stand in a page or alone.
#![expect(clippy::float_arithmetic, reason = "coordinates; no money passes here")]

use std::fmt::Write;

/// Of the picture, in its own units. Letters of 15 in a width of 560 are legible at a phone's 360 pixels.
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
const LETTERS: f64 = 15.0;
/// Of the area between the axes.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 530.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 250.0;
/// Of the marks, and how wide one letter of them is at most.
const MARK_LETTERS: f64 = 13.0;
const MARK_LETTER: f64 = 7.6;

/// Told apart without colours, too: by their dashes.
const STYLES: [(&str, &str); 3] = [("#1d4ed8", ""), ("#c2410c", "7 4"), ("#64748b", "2 3")];

/// How an axis is divided.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scale {
    /// From 0 to a round number.
    Linear,
    /// From 0 to the last value.
    Span,
    /// Decades.
    Log,
    /// 90, 99, 99.9 % equally far apart.
    Percent,
}

/// An axis.
#[derive(Debug, Clone)]
pub(super) struct Axis {
    /// What it shows, with the unit.
    pub(super) label: &'static str,
    pub(super) scale: Scale,
}

/// A line: its name, and `(x, y)` from left to right; gaps where there is no value.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A plot.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    pub(super) marks: Vec<(f64, String)>,
}

impl Plot {
    /// Its file beside the report.
    pub(super) fn file(&self, scenario: &str) -> String {
        format!("{scenario}-{}.svg", self.name)
    }

    /// The picture.
    pub(super) fn svg(&self) -> String {
        let xs = self.lines.iter().flat_map(|line| &line.points).map(|point| point.0);
        let ys = self.lines.iter().flat_map(|line| &line.points).filter_map(|point| point.1);
        let strip = self.strip();
        let (top, bottom, height) = (TOP + strip, BOTTOM + strip, HEIGHT + strip);
        let x = Ruler::over(&self.x.scale, xs, LEFT, RIGHT);
        let y = Ruler::over(&self.y.scale, ys, bottom, top);
        let mut svg = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{}" font-family="system-ui, sans-serif" font-size="{LETTERS}" fill="#334155"><rect width="{WIDTH}" height="{height:.0}" fill="#ffffff"/>"##,
            escape(self.title)
        );
        self.marks(&mut svg, &x, bottom);
        self.axes(&mut svg, &x, &y);
        // The first on top: where two are the same, it is the one to be seen.
        for (line, (colour, dashes)) in self.lines.iter().zip(STYLES).rev() {
            let path = path(&line.points, &x, &y);
            let _ = write!(
                svg,
                r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round" stroke-linecap="round" stroke-dasharray="{dashes}"/>"#
            );
        }
        self.legend(&mut svg);
        svg.push_str("</svg>");
        svg
    }

    /// What the marks' labels take above the plot, upright.
    fn strip(&self) -> f64 {
        let longest = self.marks.iter().map(|(_, label)| label.len()).max();
        longest.map_or(0.0, |letters| letters as f64 * MARK_LETTER + 8.0)
    }

    fn axes(&self, svg: &mut String, x: &Ruler, y: &Ruler) {
        let (bottom, top) = (y.from, y.to);
        for (at, label) in y.ticks() {
            let _ = write!(
                svg,
                r##"<path d="M{LEFT} {at:.1}H{RIGHT}" stroke="#e2e8f0"/><text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"##,
                LEFT - 7.0,
                at + 5.0
            );
        }
        for (at, label) in x.ticks() {
            let _ = write!(
                svg,
                r##"<path d="M{at:.1} {bottom:.1}v5" stroke="#64748b"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{label}</text>"##,
                bottom + 21.0
            );
        }
        let _ = write!(
            svg,
            r##"<path d="M{LEFT} {top:.1}V{bottom:.1}H{RIGHT}" fill="none" stroke="#64748b"/><text x="{:.1}" y="{:.1}" text-anchor="middle">{}</text><text transform="translate(15 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"##,
            f64::midpoint(LEFT, RIGHT),
            bottom + 44.0,
            escape(self.x.label),
            f64::midpoint(top, bottom),
            escape(self.y.label)
        );
    }

    /// Upright above the plot, so that ten of them meet neither each other nor a line.
    fn marks(&self, svg: &mut String, x: &Ruler, bottom: f64) {
        for (at, label) in &self.marks {
            let at = x.place(*at);
            let _ = write!(
                svg,
                r##"<path d="M{at:.1} {TOP}V{bottom:.1}" stroke="#94a3b8" stroke-dasharray="3 3"/><text transform="translate({:.1} {TOP}) rotate(-90)" text-anchor="end" font-size="{MARK_LETTERS}">{}</text>"##,
                at + 14.0,
                escape(label)
            );
        }
    }

    fn legend(&self, svg: &mut String) {
        let mut left = LEFT;
        for (line, (colour, dashes)) in self.lines.iter().zip(STYLES) {
            let _ = write!(
                svg,
                r#"<path d="M{left:.1} 15h26" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/><text x="{:.1}" y="20">{}</text>"#,
                left + 32.0,
                escape(line.name)
            );
            // A letter is about half as wide as high.
            left += 32.0 + 24.0 + line.name.len() as f64 * LETTERS * 0.52;
        }
    }
}

/// From values to places.
struct Ruler {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Ruler {
    /// As long as the values need it, and never without length.
    fn over(scale: &Scale, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (least, most) = values.fold((f64::MAX, f64::MIN), |(a, b), value| (a.min(value), b.max(value)));
        let (low, high) = match scale {
            Scale::Linear => (0.0, round_up(most.max(1.0))),
            Scale::Span => (0.0, most.max(1.0)),
            Scale::Log => {
                let low = least.clamp(0.01, 1e6).log10().floor();
                (low, most.clamp(0.01, 1e9).log10().ceil().max(low + 1.0))
            }
            Scale::Percent => (0.0, bend(most.clamp(90.0, 99.999))),
        };
        Self { scale: scale.clone(), low, high, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear | Scale::Span => value,
            Scale::Log => value.max(0.001).log10(),
            Scale::Percent => bend(value),
        };
        let share = ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
        self.from + share * (self.to - self.from)
    }

    /// Where labels stand, and what they say.
    fn ticks(&self) -> Vec<(f64, String)> {
        let values: Vec<f64> = match self.scale {
            Scale::Linear | Scale::Span => {
                let step = step(self.high);
                (0..).map(|n| f64::from(n) * step).take_while(|value| *value <= self.high * 1.001).collect()
            }
            Scale::Log => (-2..10)
                .filter(|n| (self.low..=self.high).contains(&f64::from(*n)))
                .map(|n| 10_f64.powi(n))
                .collect(),
            Scale::Percent => {
                let values = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99].into_iter();
                values.filter(|value| bend(*value) <= self.high + 0.001).collect()
            }
        };
        values.into_iter().map(|value| (self.place(value), number(value))).collect()
    }
}

/// How many nines: 90 is 1, 99 is 2, and 0 is 0.
fn bend(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).max(1e-6).log10()
}

/// 1, 2 or 5 times a power of ten, at most seven of them up to `high`.
fn step(high: f64) -> f64 {
    let decade = 10_f64.powf((high / 6.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * decade);
    steps.into_iter().find(|step| high / step <= 7.0).unwrap_or(high)
}

/// To the next half step, so that the highest point is not at the edge.
fn round_up(most: f64) -> f64 {
    let half = step(most) / 2.0;
    (most / half).ceil() * half
}

fn number(value: f64) -> String {
    if value >= 10_000.0 {
        format!("{}k", value / 1_000.0)
    } else {
        format!("{}", (value * 1e6).round() / 1e6)
    }
}

fn path(points: &[(f64, Option<f64>)], x: &Ruler, y: &Ruler) -> String {
    let mut path = String::new();
    let mut pen = 'M';
    for (across, up) in points {
        match up {
            Some(up) => {
                let _ = write!(path, "{pen}{:.1} {:.1}", x.place(*across), y.place(*up));
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    path
}

/// For HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_round_and_few() {
        let labels = |scale, values: &[f64]| -> Vec<String> {
            let ruler = Ruler::over(&scale, values.iter().copied(), 0.0, 100.0);
            ruler.ticks().into_iter().map(|(_, label)| label).collect()
        };
        assert_eq!(labels(Scale::Linear, &[0.0, 47.0]), ["0", "10", "20", "30", "40", "50"]);
        assert_eq!(labels(Scale::Linear, &[]), ["0", "0.2", "0.4", "0.6", "0.8", "1"]);
        assert_eq!(labels(Scale::Linear, &[36_000.0]), ["0", "10k", "20k", "30k", "40k"]);
        assert_eq!(labels(Scale::Span, &[0.0, 47.0]), ["0", "10", "20", "30", "40"]);
        assert_eq!(labels(Scale::Log, &[0.4, 230.0]), ["0.1", "1", "10", "100", "1000"]);
        assert_eq!(labels(Scale::Percent, &[0.0, 99.9]), ["0", "50", "90", "99", "99.9"]);
    }

    #[test]
    fn a_line_has_gaps_where_there_is_no_value_and_stays_within_the_axes() {
        let (x, y) = (
            Ruler::over(&Scale::Linear, [0.0, 10.0].into_iter(), LEFT, RIGHT),
            Ruler::over(&Scale::Log, [1.0, 100.0].into_iter(), BOTTOM, TOP),
        );
        let path = path(&[(0.0, Some(1.0)), (5.0, None), (10.0, Some(100.0)), (10.0, Some(0.0))], &x, &y);
        assert_eq!(path, format!("M{LEFT:.1} {BOTTOM:.1}M{RIGHT:.1} {TOP:.1}L{RIGHT:.1} {BOTTOM:.1}"));
    }
}
