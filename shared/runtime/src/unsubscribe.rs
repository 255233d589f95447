//! unsubscribe: links in mails by which somebody is written no more, without logging in. A link is sealed with the house's own key
//! (`secrets`): nobody else can make one, and none says whom it is for. It is good as long as the key that sealed it is kept.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use uuid::Uuid;

use crate::secrets::{Secrets, Unsealed};

/// What the links are sealed for.
const PURPOSE: &str = "unsubscribe";
/// Longest token that is looked at: twice what one takes.
const MAX_TOKEN: usize = 256;

/// What somebody gets no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Mails about their orders.
    Orders,
    /// Notices of sales.
    Sales,
}

impl List {
    const ALL: [(&'static str, Self); 2] = [("orders", Self::Orders), ("sales", Self::Sales)];

    fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
    }
}

/// The token that ends this list for this person.
pub fn token(secrets: &Secrets, person: Uuid, list: List) -> Result<String, Unsealed> {
    Ok(B64.encode(secrets.seal(PURPOSE, &format!("{person} {}", list.name()))?))
}

/// Whom a token is for, and which list it ends; `None`: it was not made here.
pub fn read(secrets: &Secrets, token: &str) -> Option<(Uuid, List)> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let opened = secrets.unseal(PURPOSE, &B64.decode(token).ok()?).ok()?;
    let (person, list) = opened.split_once(' ')?;
    let (_, list) = List::ALL.into_iter().find(|(name, _)| *name == list)?;
    Some((Uuid::try_parse(person).ok()?, list))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets;

    #[test]
    fn a_link_says_whom_it_is_for_to_nobody_else_and_no_other_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let path = folder.path().join(name);
            secrets::make(&path).unwrap();
            Secrets::open(Some(&path)).unwrap()
        };
        let (ours, theirs) = (of("ours"), of("theirs"));
        let person = Uuid::now_v7();
        let made = token(&ours, person, List::Orders).unwrap();
        assert_eq!(read(&ours, &made), Some((person, List::Orders)));
        assert_eq!(read(&theirs, &made), None);
        let webhook = B64.encode(ours.seal("webhook:1", &format!("{person} orders")).unwrap());
        assert_eq!(read(&ours, &webhook), None, "what was sealed for something else is no link");
        for at in 0..made.len() {
            let mut other = made.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(read(&ours, &String::from_utf8(other).unwrap()), None, "{at}");
        }
        assert_eq!(read(&ours, &"A".repeat(10_000)), None);
    }
}
