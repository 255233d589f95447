//! Whatever else a client wants to know of its order: names and texts, kept and shown, and read by nobody here.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::limits::{MAX_METADATA, MAX_METADATA_BYTES, MAX_METADATA_KEY_CHARS};
use crate::problems::{At, Problems, text_problem};

/// The entries as JSON; `None`: there are none, or the problem is noted.
pub(crate) fn metadata(problems: &mut Problems, raw: Option<&RawValue>) -> Option<Box<RawValue>> {
    let at = At::Top.field("metadata");
    let fields = problems.object(at, raw?)?;
    if fields.len() > MAX_METADATA {
        problems.add(at, "too_many", format!("must have at most {MAX_METADATA} entries"));
        return None;
    }
    let mut entries = BTreeMap::new();
    for (name, raw) in fields {
        let shown: String = name.chars().filter(|c| !c.is_control()).take(MAX_METADATA_KEY_CHARS).collect();
        let place = at.field(&shown);
        if let Some((code, detail)) = text_problem(&name, MAX_METADATA_KEY_CHARS) {
            problems.add(place, code, format!("the name {detail}"));
            continue;
        }
        let Ok(text) = serde_json::from_str::<String>(raw.get()) else {
            problems.add(place, "not_text", "must be a string");
            continue;
        };
        // PostgreSQL cannot store it.
        if text.contains('\0') {
            problems.add(place, "control_character", "must not contain NUL");
        }
        entries.insert(name, text);
    }
    let json = serde_json::value::to_raw_value(&entries).expect("texts are JSON");
    if json.get().len() > MAX_METADATA_BYTES {
        problems.add(at, "too_long", format!("must have at most {MAX_METADATA_BYTES} bytes as JSON"));
    }
    (!entries.is_empty()).then_some(json)
}
