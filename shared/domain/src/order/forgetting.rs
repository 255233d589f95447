//! What people wanted minded at the lines of an order is forgotten, pure. Each text gives way to a number, the same text to the same:
//! so lines that were alike or not stay so, and what the events come to stays what the order is made of.

use super::lines::Item;
use super::modifiers::Modifier;

/// The texts of one order that gave way so far.
#[derive(Debug, Default)]
pub struct Notes(Vec<String>);

impl Notes {
    /// Takes the notes out of lines; whether there was one.
    pub fn forget(&mut self, items: &mut [Item]) -> bool {
        items
            .iter_mut()
            .fold(false, |any, item| self.one(&mut item.note) | self.below(&mut item.modifiers) | any)
    }

    fn below(&mut self, modifiers: &mut [Modifier]) -> bool {
        modifiers
            .iter_mut()
            .fold(false, |any, one| self.one(&mut one.note) | self.below(&mut one.modifiers) | any)
    }

    fn one(&mut self, note: &mut Option<String>) -> bool {
        let Some(text) = note else { return false };
        let place = self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.clone());
            self.0.len() - 1
        });
        *text = format!("forgotten {}", place + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_alike_stays_alike_and_what_was_not_does_not() {
        let line = |note: &str, below: &str| -> Item {
            serde_json::from_str(&format!(
                r#"{{"item_id":"i","item_name":"n","quantity":1,"price":1,"note":"{note}",
                    "modifiers":[{{"name":"m","quantity":1,"price":0,"note":"{below}"}}]}}"#
            ))
            .unwrap()
        };
        let mut items = [line("no nuts", "hot"), line("hot", "no nuts"), line("no nuts", "cold")];
        assert!(Notes::default().forget(&mut items));
        let notes: Vec<_> = items
            .iter()
            .flat_map(|item| [item.note.clone(), item.modifiers[0].note.clone()])
            .map(Option::unwrap)
            .collect();
        let expected = [1, 2, 2, 1, 1, 3].map(|n| format!("forgotten {n}"));
        assert_eq!(notes, expected);
        let plain = r#"[{"item_id":"i","item_name":"n","quantity":1,"price":1}]"#;
        assert!(!Notes::default().forget(&mut serde_json::from_str::<Vec<Item>>(plain).unwrap()));
    }
}
