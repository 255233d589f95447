//! texts: what openapi.json says of the texts in requests, in one place, as `domain::problems::text_problem` has it for all of
//! them: not blank, and without control characters.

use std::collections::BTreeSet;

use utoipa::Modify;
use utoipa::openapi::schema::{ArrayItems, SchemaType, Type};
use utoipa::openapi::{Components, OpenApi, RefOr, Schema};

/// Not blank, no control character.
const TEXT: &str = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$";
/// Names in a list, of channels and of locations, have at most so many characters.
const MAX_NAME: usize = 50;

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
    for property in object.properties.values_mut() {
        note(property, names);
        let RefOr::T(schema) = property else { continue };
        match schema {
            Schema::Object(text) if text.max_length.is_some() => of_text(text),
            Schema::Array(list) => {
                if let ArrayItems::RefOrSchema(item) = &mut list.items
                    && let RefOr::T(Schema::Object(text)) = &mut **item
                {
                    text.max_length.get_or_insert(MAX_NAME);
                    of_text(text);
                }
            }
            _ => {}
        }
    }
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
