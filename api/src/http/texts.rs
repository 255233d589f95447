//! texts: what openapi.json says of the texts in requests, in one place. As `domain::problems` has it for all of them: the spaces
//! around a text do not count; it is not blank, and has neither control characters nor others that nobody sees. Of currencies and
//! statuses it says which there are.

use std::collections::BTreeSet;

use domain::limits::MAX_ID_CHARS;
use domain::money::{Currency, currency_of};
use domain::order::status::OrderStatus;
use utoipa::Modify;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, SchemaType, Type};
use utoipa::openapi::{Components, Object, OpenApi, RefOr, Schema};

/// What does not count around a text.
const SPACE: &str = r"\t-\r\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
/// Control characters, and what nobody sees and no script needs: in no text.
const HIDDEN: &str = r"\x00-\x1f\x7f-\x9f\xad\u115f\u1160\u180e\u200b\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb";
const HIDDEN_BEYOND: &str = "\u{e0000}-\u{e001f}";
/// What joins or parts its neighbours: alone it is no text.
const JOINS: &str = r"\u061c\u200c-\u200f\ufe00-\ufe0f";
const JOINS_BEYOND: &str = "\u{e0020}-\u{e007f}\u{e0100}-\u{e01ef}";
/// What is in no name, because it looks like nothing or like a space, as `domain::problems::id_problem` has it.
const UNSEEN: &str = r"\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb";
/// The same beyond what four digits can say, without the private letters of the last two planes: spelt out one by one, as those do who
/// make texts after a pattern, they are 131,072. So whoever takes ids says that they may be `invisible_character`.
const UNSEEN_BEYOND: &str =
    "\u{110bd}\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}";
/// Names in a list, of channels and of locations, have at most so many characters.
const MAX_NAME: usize = 50;

/// Fields that are such names.
const NAMES: [&str; 6] = ["customer_id", "channel", "item_id", "id", "reference", "payment_reference"];
/// Notes, which may have several lines, and may be empty.
const NOTES: [&str; 2] = ["note", "description"];
/// What a location may be called, as `domain::location::is_id` has it.
const LOCATION: &str = "^[a-z0-9_-]{1,50}$";
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
            if parameter.name == "channel" {
                name_pattern(text);
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
    let object = match components.schemas.get_mut(name) {
        Some(RefOr::T(Schema::Object(object))) => object,
        Some(either) => return note(either, names),
        None => return,
    };
    if !object.properties.is_empty() && !OPEN.contains(&name) {
        // A field that nobody knows is refused: `unknown_field`.
        object.additional_properties.get_or_insert(Box::new(AdditionalProperties::FreeForm(false)));
    }
    for (field, property) in &mut object.properties {
        note(property, names);
        let RefOr::T(schema) = property else { continue };
        match schema {
            Schema::Object(id) if NAMES.contains(&field.as_str()) && is_text(id) => name_pattern(id),
            Schema::Object(text) => of_text(field, text),
            Schema::Array(list) => {
                if let ArrayItems::RefOrSchema(item) = &mut list.items
                    && let RefOr::T(Schema::Object(text)) = &mut **item
                {
                    text.max_length.get_or_insert(MAX_NAME);
                    if field == "locations" {
                        text.pattern = Some(LOCATION.to_owned());
                    } else {
                        name_pattern(text);
                    }
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
    text.pattern = Some(format!("^[{SPACE}]*{end}([^{unseen}]*{end})?[{SPACE}]*$"));
    text.min_length.get_or_insert(1);
}

/// Of what is any other text.
fn text_pattern(text: &mut Object) {
    let hidden = format!("{HIDDEN}{HIDDEN_BEYOND}");
    let seen = format!("[^{SPACE}{hidden}{JOINS}{JOINS_BEYOND}]");
    text.pattern = Some(format!("^[{SPACE}]*[^{hidden}]*{seen}[^{hidden}]*[{SPACE}]*$"));
    text.min_length.get_or_insert(1);
}

/// Of an address of the web.
fn address_pattern(text: &mut Object) {
    text.pattern = Some(format!("^[{SPACE}]*https?://[^\\x20{HIDDEN}{HIDDEN_BEYOND}]*[{SPACE}]*$"));
}

/// Of a text with lines. What is not seen at all is none.
fn note_pattern(text: &mut Object) {
    let controls = r"\x00-\x1f\x7f-\x9f";
    let unseen = HIDDEN.strip_prefix(controls).unwrap_or(HIDDEN).to_owned() + HIDDEN_BEYOND;
    let hidden = format!(r"\x00-\x08\x0b-\x1f\x7f-\x9f{unseen}");
    let none = format!("[{SPACE}{unseen}{JOINS}{JOINS_BEYOND}]*");
    text.pattern = Some(format!(r"^({none}|[{SPACE}]*([^{hidden}]|\r\n)*[{SPACE}]*)$"));
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
        "location" => text.pattern = Some(LOCATION.to_owned()),
        "picture_url" | "url" => address_pattern(text),
        _ if NOTES.contains(&name) => note_pattern(text),
        _ if text.max_length.is_some() => {
            text_pattern(text);
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
