//! Numbers as JSON writes them: what a serialiser of doubles makes of a whole one (`2.0`, `1e2`) is what it was.

/// Largest exponent that is read: no amount has as many digits.
const MAX_EXPONENT: i32 = 30;

/// A number without its exponent: `1e2` is `100`, `12.5E-1` is `1.25`. `None`: it has none, or is no number, or none of ours.
pub(crate) fn without_exponent(text: &str) -> Option<String> {
    let (number, exponent) = text.split_once(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok()?;
    if exponent.abs() > MAX_EXPONENT {
        return None;
    }
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = [whole, fraction].concat();
    if whole.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let (point, length) = (i32::try_from(whole.len()).ok()? + exponent, i32::try_from(all.len()).ok()?);
    Some(if point <= 0 {
        format!("{sign}0.{}{all}", zeros(-point))
    } else if point >= length {
        format!("{sign}{all}{}", zeros(point - length))
    } else {
        let (whole, fraction) = all.split_at(usize::try_from(point).unwrap_or(0));
        format!("{sign}{whole}.{fraction}")
    })
}

/// A number whose exponent is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Far {
    /// 0, whatever its exponent.
    Nothing,
    /// Behind any place that we have.
    Small,
    /// Above all that we count.
    Large,
}

/// Where a number with an exponent is that [`without_exponent`] does not write out; `None`: it is no number.
pub(crate) fn far(text: &str) -> Option<Far> {
    let (number, exponent) = text.split_once(['e', 'E'])?;
    let (is_small, digits) = match exponent.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    let plain = number.strip_prefix('-').unwrap_or(number);
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if ![digits, whole, fraction].into_iter().all(all_digits) {
        return None;
    }
    Some(if [whole, fraction].concat().bytes().all(|b| b == b'0') {
        Far::Nothing
    } else if is_small {
        Far::Small
    } else {
        Far::Large
    })
}

/// The digits of a whole number, however it is written, with its sign; `None`: it is not whole, or no number.
pub(crate) fn whole(text: &str) -> Option<String> {
    let plain = without_exponent(text);
    let plain = plain.as_deref().unwrap_or(text);
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, "0"));
    let digits = whole.strip_prefix('-').unwrap_or(whole);
    let is_whole = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !fraction.is_empty()
        && fraction.bytes().all(|b| b == b'0');
    is_whole.then(|| whole.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exponent_moves_the_point() {
        let plain = |text| without_exponent(text);
        for (text, expected) in [
            ("1e2", "100"),
            ("1E+2", "100"),
            ("12.5e-1", "1.25"),
            ("-1.5e1", "-15"),
            ("1.25e1", "12.5"),
            ("5e-2", "0.05"),
            ("1e0", "1"),
        ] {
            assert_eq!(plain(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["1", "1e31", "1e-31", "e2", "ae2", "1e", "1ex", "\"1e2\"", "1e99999999999"] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn whole_is_what_has_nothing_behind_the_point() {
        for (text, expected) in [("2", "2"), ("2.0", "2"), ("2.000", "2"), ("2e0", "2"), ("-1.0", "-1")] {
            assert_eq!(whole(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["1.5", "15e-1", "\"2\"", "", "-", "1.", "true", "[1]"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }
}
