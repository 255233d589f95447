//! What looks like a card's number, wherever it stands: in a log, in a row, in a message.

/// Cards of test systems, each of another brand: good by their check digits, and nobody's.
pub const CARDS: [&str; 6] = [
    "4242424242424242",
    "4242 4242 4242 4242",
    "5555-5555-5555-4444",
    "378282246310005",
    "6011111111111117",
    "3530111333300000",
];

/// Whether these digits may be a card's number: by where they begin, how many they are, and their check digit (ISO/IEC 7812).
fn is_card(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let value = u32::from(digit - b'0') * if place % 2 == 1 { 2 } else { 1 };
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    (13..=19).contains(&digits.len()) && matches!(digits[0], b'3'..=b'6') && sum.is_multiple_of(10)
}

/// What looks like a card's number: digits in one piece, or in groups of four, that are no part of something longer.
pub fn cards(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ' ')));
    let mut found = Vec::new();
    for word in words {
        for part in word.split(' ') {
            let digits: Vec<u8> = part.bytes().filter(|b| *b != b'-').collect();
            let groups = part.split('-').all(|group| (3..=4).contains(&group.len())) || !part.contains('-');
            if groups && digits.iter().all(u8::is_ascii_digit) && !digits.is_empty() && is_card(&digits) {
                found.push(part.to_owned());
            }
        }
        // With spaces between: any run of groups of four that follow each other.
        let parts: Vec<&str> = word.split(' ').collect();
        for run in parts.windows(4) {
            let digits: Vec<u8> = run.concat().into_bytes();
            let fours = run.iter().all(|group| group.len() == 4);
            if fours && digits.iter().all(u8::is_ascii_digit) && is_card(&digits) {
                found.push(run.join(" "));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_found_and_what_is_none_is_not() {
        for card in CARDS {
            assert_eq!(cards(&format!("a=\"{card}\", b")), [card], "{card}");
            assert_eq!(cards(&format!("paid with {card} today")), [card], "{card}");
        }
        for none in [
            "4242424242424241",
            "1764443000123456",
            "42424242-4242-4242-8242-424242424242",
            "a4242424242424242",
            "2026-11-29 17:02:11.123456+00",
            "12.99 4.99 30.97",
        ] {
            assert_eq!(cards(none), [""; 0], "{none}");
        }
    }
}
