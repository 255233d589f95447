//! texts: what openapi.json says of the texts in requests, in one place. As `domain::problems::text_problem` has it for all of
//! them: not blank, and without control characters. Of currencies and statuses it says which there are.

use std::collections::BTreeSet;

use domain::limits::MAX_ID_CHARS;
use domain::money::{Currency, currency_of};
use domain::order::status::OrderStatus;
use utoipa::Modify;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, SchemaType, Type};
use utoipa::openapi::{Components, Object, OpenApi, RefOr, Schema};

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
/// Requests with fields of others' choice: a platform's document is taken as it is, and `OAuth2` has more than we know.
const OPEN: [&str; 5] = ["ChannelOrderBody", "ChannelItem", "ChannelCustomer", "ChannelAddress", "TokenForm"];

/// Says it of every text that a request may have, where nothing closer is said; and of every body, that it has no other fields.
pub(crate) struct Texts;

impl Modify for Texts {
    fn modify(&self, document: &mut OpenApi) {
        let mut names = BTreeSet::new();
        for path in document.paths.paths.values_mut() {
            let methods = [&mut path.get, &mut path.post, &mut path.put, &mut path.patch, &mut path.delete];
            methods.into_iter().flatten().for_each(|method| of_operation(method, &mut names));
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

fn of_operation(operation: &mut Operation, names: &mut BTreeSet<String>) {
    for one in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = one else { continue };
        parameter.schema.iter_mut().for_each(not_null);
        // Of headers and paths each says for itself what it may be: an id that is none names nothing, and that is a 404. But
        // a channel is made by its name, and one that cannot be a name is said to be none.
        if parameter.parameter_in == ParameterIn::Path
            && parameter.name == "channel"
            && let Some(RefOr::T(Schema::Object(text))) = &mut parameter.schema
        {
            text.max_length.get_or_insert(MAX_NAME);
            name_pattern(text);
        }
        if parameter.parameter_in == ParameterIn::Query
            && let Some(RefOr::T(Schema::Object(text))) = &mut parameter.schema
        {
            let is_text = is_text(text);
            if is_text {
                let most = if parameter.name == "channel" { MAX_NAME } else { MAX_ID_CHARS };
                text.max_length.get_or_insert(most);
            }
            of_text(&parameter.name, text);
            if is_text && parameter.name == "status" {
                let one = a_status();
                text.pattern = Some(format!("^{one}(,{one})*$"));
            }
        }
    }
    let Some(RefOr::T(body)) = &mut operation.request_body else { return };
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        content.schema.iter_mut().for_each(not_null);
        content.schema.iter().for_each(|schema| note(schema, names));
    }
}

/// What may be left out is not null: neither a body nor a parameter.
fn not_null(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::OneOf(either)) = schema else { return };
    either.items.retain(|one| matches!(one, RefOr::Ref(_)));
    if let [one] = &*either.items {
        *schema = one.clone();
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
    if !object.properties.is_empty() && !OPEN.contains(&name) {
        // A field that nobody knows is refused: `unknown_field`.
        object.additional_properties.get_or_insert(Box::new(AdditionalProperties::FreeForm(false)));
    }
    for (field, property) in &mut object.properties {
        note(property, names);
        let RefOr::T(schema) = property else { continue };
        match schema {
            Schema::Object(id) if NAMES.contains(&field.as_str()) => name_pattern(id),
            Schema::Object(text) => of_text(field, text),
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
fn name_pattern(text: &mut Object) {
    let unseen = format!("{UNSEEN}{UNSEEN_BEYOND}");
    let end = format!("[^{SPACE}{unseen}]");
    text.pattern = Some(format!("^{end}([^{unseen}]*{end})?$"));
    text.min_length.get_or_insert(1);
}

fn is_text(text: &Object) -> bool {
    let is_text = match &text.schema_type {
        SchemaType::Type(kind) => *kind == Type::String,
        SchemaType::Array(kinds) => kinds.contains(&Type::String),
        SchemaType::AnyValue => false,
    };
    is_text && text.format.is_none() && text.pattern.is_none() && text.enum_values.is_none()
}

/// Says of a text what it may be: by its name, or as all are that have a longest length.
fn of_text(name: &str, text: &mut Object) {
    if !is_text(text) {
        return;
    }
    match name {
        "currency" => text.pattern = Some(format!("^({})$", currencies().join("|"))),
        "status" => text.pattern = Some(format!("^{}$", a_status())),
        _ if text.max_length.is_some() => {
            text.pattern = Some(TEXT.to_owned());
            text.min_length.get_or_insert(1);
        }
        _ => {}
    }
}

/// Those that are money one can pay with, by their codes.
fn currencies() -> Vec<&'static str> {
    let all = (0..1_000).filter_map(Currency::from_numeric).map(|one| one.code());
    let mut all: Vec<_> = all.filter(|code| currency_of(code).is_some()).collect();
    all.sort_unstable();
    all
}

fn a_status() -> String {
    format!("({})", OrderStatus::ALL.map(|status| in_any_case(status.as_str())).join("|"))
}

/// A pattern for a word in any case: patterns of JSON schemas have no flag for it.
fn in_any_case(word: &str) -> String {
    word.chars()
        .map(
            |c| {
                if c.is_ascii_alphabetic() {
                    format!("[{c}{}]", c.to_ascii_lowercase())
                } else {
                    c.to_string()
                }
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_currencies_and_statuses_is_what_is_taken() {
        let known = currencies();
        assert!(["EUR", "JPY", "KWD", "USD"].iter().all(|code| known.contains(code)), "{known:?}");
        assert!(!known.contains(&"XAU") && !known.contains(&"XXX") && known.len() > 100, "{known:?}");
        assert_eq!(in_any_case("NO_SHOW"), "[Nn][Oo]_[Ss][Hh][Oo][Ww]");
    }
}
