//! The ledger's changes as lines of JSON in a file: written before they are answered, read at start. A line is one
//! `write` without fsync: it survives the death of the process, kill -9 too, but not the machine's. Without a file
//! the ledger lives as long as the process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use domain::money::{Currency, Money};
use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::verdict::DeclineCode;

/// One change of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    Charged {
        key: Name,
        reference: Name,
        #[serde(flatten, with = "minor_units")]
        money: Money,
    },
    Declined {
        key: Name,
        reference: Name,
        #[serde(flatten, with = "minor_units")]
        money: Money,
        code: DeclineCode,
    },
    Voided {
        key: Name,
    },
    Refunded {
        key: Name,
        charge_key: Name,
        reference: Name,
        #[serde(flatten, with = "minor_units")]
        money: Money,
    },
}

/// A journal open for further lines.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    /// Of the whole lines; more than this is what a failed write left.
    length: u64,
    line: Vec<u8>,
}

impl Journal {
    /// Opens or creates the file, and passes every change that it holds to `restore`.
    pub(crate) fn open(path: &Path, mut restore: impl FnMut(Change) -> Result<()>) -> Result<Self> {
        let name = path.display();
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.with_context(|| format!("cannot open the journal {name} (GATEWAY_MOCK_JOURNAL)"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "the journal {name} is in use by another gateway: stop it, or set GATEWAY_MOCK_JOURNAL to another file"
                )
            }
            Err(TryLockError::Error(error)) => bail!("cannot lock the journal {name}: {error}"),
        }
        let mut reader = BufReader::new(&file);
        let (mut length, mut number, mut line) = (0, 0_u64, Vec::new());
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).with_context(|| format!("cannot read {name}"))?;
            if line.last() != Some(&b'\n') {
                break;
            }
            number += 1;
            let change = serde_json::from_slice(&line);
            let change =
                change.with_context(|| format!("line {number} of the journal {name} is no change"))?;
            restore(change).with_context(|| format!("line {number} of the journal {name}"))?;
            length += read as u64;
        }
        let mut journal = Self { file, length, line };
        // A last line without its end was never answered: nobody relies on it.
        journal.cut()?;
        Ok(journal)
    }

    /// Adds one line. After an error nothing of it is left.
    pub(crate) fn append(&mut self, change: &Change) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, change)?;
        self.line.push(b'\n');
        if let Err(error) = self.file.write_all(&self.line) {
            self.cut()?;
            return Err(error).context("cannot write the journal");
        }
        self.length += self.line.len() as u64;
        Ok(())
    }

    fn cut(&mut self) -> Result<()> {
        self.file.set_len(self.length).context("cannot cut a broken line off the journal")
    }
}

/// Money as `minor` and `currency`: no decimals to get wrong when it is read again.
mod minor_units {
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    use super::{Currency, Deserialize, Money, Serialize};

    #[derive(Serialize, Deserialize)]
    struct MinorUnits {
        minor: i64,
        currency: String,
    }

    pub(super) fn serialize<S: Serializer>(money: &Money, serializer: S) -> Result<S::Ok, S::Error> {
        let currency = money.currency().code().to_owned();
        MinorUnits { minor: money.minor(), currency }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Money, D::Error> {
        let MinorUnits { minor, currency } = MinorUnits::deserialize(deserializer)?;
        let currency = Currency::from_code(&currency).ok_or_else(|| D::Error::custom("unknown currency"))?;
        Ok(Money::from_minor(minor, currency))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charged(key: &str) -> Change {
        Change::Charged {
            key: key.into(),
            reference: "r".into(),
            money: Money::from_minor(1299, Currency::USD),
        }
    }

    fn read(path: &Path) -> Result<(Journal, Vec<Change>)> {
        let mut changes = Vec::new();
        let journal = Journal::open(path, |change| {
            changes.push(change);
            Ok(())
        })?;
        Ok((journal, changes))
    }

    #[test]
    fn what_was_written_is_read_again_and_a_torn_line_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let refunded = Change::Refunded {
            key: "r1".into(),
            charge_key: "a".into(),
            reference: "r".into(),
            money: Money::from_minor(5, Currency::JPY),
        };
        let declined = Change::Declined {
            key: "b".into(),
            reference: "r".into(),
            money: Money::from_minor(5, Currency::JPY),
            code: DeclineCode::InsufficientFunds,
        };
        let all = [charged("a"), declined, Change::Voided { key: "v".into() }, refunded];
        let (mut journal, _) = read(&path).unwrap();
        for change in &all {
            journal.append(change).unwrap();
        }
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [whole.as_slice(), br#"{"charged":{"key":"torn""#].concat()).unwrap();
        let (mut journal, changes) = read(&path).unwrap();
        assert_eq!(changes, all);
        journal.append(&charged("c")).unwrap();
        drop(journal);
        assert_eq!(read(&path).unwrap().1.len(), 5);
    }

    #[test]
    fn a_line_that_is_no_change_stops_the_start_and_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        std::fs::write(&path, "{\"voided\":{\"key\":\"v\"}}\n{\"stolen\":1}\n").unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("line 2 of the journal"), "{error}");
    }

    #[test]
    fn two_gateways_cannot_write_one_journal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let _first = read(&path).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("in use by another gateway"));
    }
}
