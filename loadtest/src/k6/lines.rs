//! What the scripts write down: a line an order (`order BEGUN_MS TOOK_MS STATUS ID`), and a line where something begins
//! (`phase MS LABEL`). Raw figures: percentiles of percentiles would be none.

use anyhow::{Context, Result};
use uuid::Uuid;

/// An order that was sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sent {
    /// Milliseconds since 1970.
    pub(super) begun: i64,
    /// Until the answer.
    pub(super) took_ms: f64,
    /// 0 where there was none.
    pub(super) status: u16,
    /// Of an accepted one.
    pub(super) id: Option<Uuid>,
}

impl Sent {
    /// When the answer came.
    pub(super) fn answered(&self) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of a request")]
        let took = self.took_ms.ceil() as i64;
        self.begun + took
    }

    pub(super) const fn is_accepted(&self) -> bool {
        self.status == 202
    }
}

/// All that a script wrote, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) sent: Vec<Sent>,
    /// When, and what began then.
    pub(super) phases: Vec<(i64, String)>,
}

impl Lines {
    pub(super) fn read(text: &str) -> Result<Self> {
        let mut lines = Self::default();
        for line in text.lines() {
            let words = line.split_once(' ').unwrap_or((line, ""));
            match words {
                ("order", rest) => {
                    lines.sent.push(sent(rest).with_context(|| format!("no order: {line:?}"))?)
                }
                ("phase", rest) => {
                    let (at, label) = rest.split_once(' ').with_context(|| format!("no phase: {line:?}"))?;
                    lines.phases.push((at.parse()?, label.to_owned()));
                }
                // A complaint, kept in the file.
                _ => {}
            }
        }
        lines.sent.sort_by_key(|sent| sent.begun);
        lines.phases.sort();
        Ok(lines)
    }
}

fn sent(rest: &str) -> Option<Sent> {
    let mut words = rest.split(' ');
    Some(Sent {
        begun: words.next()?.parse().ok()?,
        took_ms: words.next()?.parse().ok()?,
        status: words.next()?.parse().ok()?,
        id: match words.next()? {
            "-" => None,
            id => Some(id.parse().ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_phases_are_read_and_complaints_left() {
        let text = "order 1010 1.500 202 01a1fdd6-5df1-756d-b604-d513061941b2\nphase 1005 gateway down\n\
                    wrong: order 7 is CONFIRMED\norder 1000 12.000 503 -\n";
        let lines = Lines::read(text).unwrap();
        assert_eq!(lines.sent[0], Sent { begun: 1_000, took_ms: 12.0, status: 503, id: None });
        assert!(lines.sent[1].is_accepted() && lines.sent[1].id.is_some());
        assert_eq!(lines.sent[1].answered(), 1_012);
        assert_eq!(lines.phases, [(1_005, "gateway down".to_owned())]);
        assert!(Lines::read("order 1000 fast 202 -").is_err(), "half a figure is no figure");
    }
}
