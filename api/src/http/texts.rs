//! texts: what openapi.json says of the texts in requests, in one place, as `domain::problems::text_problem` has it for all of
//! them: not blank, and without control characters.

use std::collections::BTreeSet;

use utoipa::Modify;
use utoipa::openapi::schema::{ArrayItems, SchemaType, Type};
use utoipa::openapi::{Components, OpenApi, RefOr, Schema};

/// Not blank, no control character.
const TEXT: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$";
/// Space, and what is none but looks like it or like nothing, as `domain::problems::id_problem` has it.
const UNSEEN: &str = r"\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb";
const SPACE: &str = r"\x20\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
/// The same beyond what four digits can say.
const UNSEEN_BEYOND: &str = "\u{110bd}\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}\u{f0000}-\u{10ffff}";
/// Names in a list, of channels and of locations, have at most so many characters.
const MAX_NAME: usize = 50;

/// Fields that are such names.
const NAMES: [&str; 2] = ["customer_id", "channel"];

/// Says it of every text that a request may have, where nothing closer is said.
pub(crate) struct Texts;

impl Modify for Texts {
    fn modify(&self, document: &mut OpenApi) {
        let mut names = BTreeSet::new();
        for path in document.paths.paths.values() {
            let methods = [&path.post, &path.put, &path.patch];
            for body in methods.into_iter().flatten().filter_map(|method| method.request_body.as_ref()) {
                let RefOr::T(body) = body else { continue };
                for content in body.content.values() {
                    let RefOr::T(content) = content else { continue };
                    content.schema.iter().for_each(|schema| note(schema, &mut names));
                }
            }
        }
        let Some(components) = &mut document.components else { return };
        let mut done = BTreeSet::new();
        while let Some(name) = names.pop_first() {
            if done.insert(name.clone()) {
                say(components, &name, &mut names);
            }
        }
    }
}

/// Which schema is meant.
fn note(schema: &RefOr<Schema>, names: &mut BTreeSet<String>) {
    match schema {
        RefOr::Ref(to) => names.extend(to.ref_location.rsplit('/').next().map(str::to_owned)),
        RefOr::T(Schema::OneOf(one)) => one.items.iter().for_each(|one| note(one, names)),
        RefOr::T(Schema::Array(list)) => {
            if let ArrayItems::RefOrSchema(item) = &list.items {
                note(item, names);
            }
        }
        RefOr::T(_) => {}
    }
}

fn say(components: &mut Components, name: &str, names: &mut BTreeSet<String>) {
    let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(name) else { return };
    for (field, property) in &mut object.properties {
        note(property, names);
        let RefOr::T(schema) = property else { continue };
        match schema {
            Schema::Object(id) if NAMES.contains(&field.as_str()) => name_pattern(id),
            Schema::Object(text) if text.max_length.is_some() => of_text(text),
            Schema::Array(list) => {
                if let ArrayItems::RefOrSchema(item) = &mut list.items
                    && let RefOr::T(Schema::Object(text)) = &mut **item
                {
                    text.max_length.get_or_insert(MAX_NAME);
                    name_pattern(text);
                }
            }
            _ => {}
        }
    }
}

/// Of what names somebody or something here.
fn name_pattern(text: &mut utoipa::openapi::Object) {
    let unseen = format!("{UNSEEN}{UNSEEN_BEYOND}");
    let end = format!("[^{SPACE}{unseen}]");
    text.pattern = Some(format!("^{end}([^{unseen}]*{end})?$"));
    of_text(text);
    text.min_length.get_or_insert(1);
}

fn of_text(text: &mut utoipa::openapi::Object) {
    let is_text = match &text.schema_type {
        SchemaType::Type(kind) => *kind == Type::String,
        SchemaType::Array(kinds) => kinds.contains(&Type::String),
        SchemaType::AnyValue => false,
    };
    if is_text && text.format.is_none() && text.pattern.is_none() && text.enum_values.is_none() {
        text.pattern = Some(TEXT.to_owned());
        text.min_length.get_or_insert(1);
    }
}
