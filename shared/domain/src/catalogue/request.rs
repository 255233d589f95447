//! What `POST`, `PUT` and `PATCH` of a product carry, and the product that comes of it.

use std::collections::HashSet;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::product::{Choice, OptionGroup, Product, Variation};
use super::reading::{flag, id, whole_number};
use crate::fields::fields;
use crate::limits::{DEFAULT_CURRENCY, MAX_ID_CHARS, MAX_NAME_CHARS, MAX_NOTE_CHARS};
use crate::location::{MAIN, is_id};
use crate::money::{Currency, Money};
use crate::problems::{At, Problem, Problems};

/// Most variations of a product, and most options of a group.
const MAX_CHOICES: usize = 50;
/// Most groups of options of a product.
const MAX_GROUPS: usize = 20;
/// Most that can be chosen of one group.
const MAX_CHOSEN: i64 = 100;
/// Longest address of a picture.
const MAX_URL_CHARS: usize = 2_000;
/// Most locations of a product.
const MAX_LOCATIONS: usize = 100;

fields! {
    /// What a product may be, still raw.
    pub struct ProductRequest {
        name,
        description,
        price,
        currency,
        category_id,
        picture_url,
        plu,
        tracked,
        locations,
        variations,
        option_groups,
    }
}

fields! {
    struct VariationRequest { id, name, price, plu }
}

fields! {
    struct OptionRequest { id, name, price }
}

fields! {
    struct GroupRequest { id, name, min, max, options }
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
enum About<'p> {
    New,
    /// It takes the place of this one.
    Instead(&'p Product),
    /// What it leaves out stays as it is here.
    Change(&'p Product),
}

impl Product {
    /// Reads a new product.
    pub fn parse(request: &ProductRequest<'_>) -> Result<Self, Vec<Problem>> {
        Reader::new(About::New).read(request)
    }

    /// Reads what takes this one's place. Variations and options that are named by their id, or are called as they were, stay
    /// the same ones.
    pub fn replace(&self, request: &ProductRequest<'_>) -> Result<Self, Vec<Problem>> {
        Reader::new(About::Instead(self)).read(request)
    }

    /// Reads what is to be another; what is left out stays.
    pub fn change(&self, request: &ProductRequest<'_>) -> Result<Self, Vec<Problem>> {
        Reader::new(About::Change(self)).read(request)
    }
}

struct Reader<'p> {
    problems: Problems,
    about: About<'p>,
}

impl<'p> Reader<'p> {
    fn new(about: About<'p>) -> Self {
        Self { problems: Problems::default(), about }
    }

    /// As it was.
    const fn before(&self) -> Option<&'p Product> {
        match self.about {
            About::New => None,
            About::Instead(before) | About::Change(before) => Some(before),
        }
    }

    /// What stays where nothing is said.
    const fn kept(&self) -> Option<&'p Product> {
        match self.about {
            About::Change(before) => Some(before),
            _ => None,
        }
    }

    fn read(mut self, request: &ProductRequest<'_>) -> Result<Product, Vec<Problem>> {
        self.problems.odd(&At::Top, &request.odd);
        let currency = self.currency(request);
        let name = match (request.name, self.kept()) {
            (None, Some(kept)) => Some(kept.name.clone()),
            (raw, _) => self.problems.text("name", raw, MAX_NAME_CHARS),
        };
        let variations = match (request.variations, self.kept()) {
            (Some(raw), _) => self.variations(raw, currency),
            (None, Some(kept)) => kept.variations.clone(),
            (None, None) => Vec::new(),
        };
        let price = self.price(request.price, &variations, currency);
        let option_groups = match (request.option_groups, self.kept()) {
            (Some(raw), _) => self.groups(raw, currency),
            (None, Some(kept)) => kept.option_groups.clone(),
            (None, None) => Vec::new(),
        };
        let description = match request.description {
            None => self.kept().and_then(|kept| kept.description.clone()),
            raw => self.problems.note("description", raw, MAX_NOTE_CHARS),
        };
        let picture_url = match request.picture_url {
            None => self.kept().and_then(|kept| kept.picture_url.clone()),
            Some(raw) => self.picture(raw),
        };
        let category_id = match request.category_id {
            None => self.kept().and_then(|kept| kept.category_id),
            raw => id(&mut self.problems, "category_id", raw),
        };
        let plu = self.plu(request.plu, &variations);
        let tracked = match (request.tracked, self.kept()) {
            (Some(raw), _) => flag(&mut self.problems, "tracked", raw),
            (None, kept) => kept.is_some_and(|kept| kept.tracked),
        };
        let locations = match (request.locations, self.kept()) {
            (Some(raw), _) => self.locations(raw),
            (None, Some(kept)) => kept.locations.clone(),
            (None, None) => vec![MAIN.to_owned()],
        };
        let id = self.before().map_or_else(Uuid::now_v7, |before| before.id);
        let (Some(name), Some(price), true) = (name, price, self.problems.0.is_empty()) else {
            return Err(self.problems.0);
        };
        Ok(Product {
            id,
            name,
            description,
            price,
            category_id,
            picture_url,
            plu,
            tracked,
            locations,
            variations,
            option_groups,
        })
    }

    /// What the till calls one that comes in no variations.
    fn plu(&mut self, raw: Option<&RawValue>, variations: &[Variation]) -> Option<String> {
        let plu = match raw {
            Some(raw) => self.problems.optional_text("plu", Some(raw), MAX_ID_CHARS),
            None => return self.kept().and_then(|kept| kept.plu.clone()).filter(|_| variations.is_empty()),
        };
        if plu.is_some() && !variations.is_empty() {
            self.problems.add("plu", "conflict", "a product that comes in variations has theirs");
        }
        plu
    }

    fn currency(&mut self, request: &ProductRequest<'_>) -> Currency {
        let said = self.problems.currency(request.currency);
        match (said, self.kept()) {
            (Some(said), Some(kept)) if said != kept.currency() => {
                let detail = "all prices would be other ones: send the product as a whole";
                self.problems.add("currency", "conflict", detail);
                said
            }
            (None, Some(kept)) => kept.currency(),
            (said, _) => said.unwrap_or(DEFAULT_CURRENCY),
        }
    }

    /// That of one, or the lowest of its variations.
    fn price(
        &mut self,
        raw: Option<&RawValue>,
        variations: &[Variation],
        currency: Currency,
    ) -> Option<Money> {
        if let Some(lowest) = variations.iter().map(|one| one.price_minor).min() {
            if raw.is_some() {
                let detail = "a product that comes in variations has theirs";
                self.problems.add("price", "conflict", detail);
            }
            return Some(Money::from_minor(lowest, currency));
        }
        match (raw, self.kept()) {
            (None, Some(kept)) if kept.variations.is_empty() => Some(kept.price),
            (raw, _) => self.problems.price("price", raw, currency),
        }
    }

    fn variations(&mut self, raw: &RawValue, currency: Currency) -> Vec<Variation> {
        let at = At::Top.field("variations");
        let list = self.problems.list::<VariationRequest<'_>>(&at, raw, MAX_CHOICES);
        let known = self.before().map_or(&[][..], |before| &before.variations);
        let mut ids = Ids::default();
        let mut plus = HashSet::new();
        let mut read = Vec::with_capacity(list.len());
        for (index, one) in list.iter().enumerate() {
            let at = at.entry(index);
            self.problems.odd(&at, &one.odd);
            let name = self.problems.text(at.field("name"), one.name, MAX_NAME_CHARS);
            let price = self.problems.price(at.field("price"), one.price, currency);
            let plu = self.problems.optional_text(at.field("plu"), one.plu, MAX_ID_CHARS);
            if plu.as_ref().is_some_and(|plu| !plus.insert(plu.clone())) {
                self.problems.add(at.field("plu"), "repeated", "is that of another one");
            }
            let was = known.iter().map(|was| (was.id, was.name.as_str()));
            let id = ids.of(&mut self.problems, &at, one.id, name.as_deref(), was);
            let (Some(id), Some(name), Some(price)) = (id, name, price) else { continue };
            read.push(Variation { id, name, price_minor: price.minor(), plu });
        }
        read
    }

    fn groups(&mut self, raw: &RawValue, currency: Currency) -> Vec<OptionGroup> {
        let at = At::Top.field("option_groups");
        let list = self.problems.list::<GroupRequest<'_>>(&at, raw, MAX_GROUPS);
        let known = self.before().map_or(&[][..], |before| &before.option_groups);
        let mut ids = Ids::default();
        let mut read = Vec::with_capacity(list.len());
        for (index, one) in list.iter().enumerate() {
            let at = at.entry(index);
            self.problems.odd(&at, &one.odd);
            let name = self.problems.text(at.field("name"), one.name, MAX_NAME_CHARS);
            let was = known.iter().map(|was| (was.id, was.name.as_str()));
            let id = ids.of(&mut self.problems, &at, one.id, name.as_deref(), was);
            let before = known.iter().find(|was| Some(was.id) == id);
            let options = self.options(&at.field("options"), one.options, before, currency);
            let most = i64::try_from(options.len()).unwrap_or(MAX_CHOSEN);
            let min = one.min.map_or(Some(0), |raw| {
                whole_number(&mut self.problems, at.field("min"), raw, 0..=MAX_CHOSEN)
            });
            let max = one.max.map_or(Some(most), |raw| {
                whole_number(&mut self.problems, at.field("max"), raw, 1..=MAX_CHOSEN)
            });
            let (Some(id), Some(name), Some(min), Some(max)) = (id, name, min, max) else { continue };
            if min > max {
                self.problems.add(at.field("min"), "out_of_range", "must not be above max");
            }
            let [min, max] = [min, max].map(|n| u32::try_from(n).unwrap_or(0));
            read.push(OptionGroup { id, name, min, max, options });
        }
        read
    }

    fn options(
        &mut self,
        at: &At<'_>,
        raw: Option<&RawValue>,
        before: Option<&OptionGroup>,
        currency: Currency,
    ) -> Vec<Choice> {
        let Some(raw) = self.problems.present(at, raw) else { return Vec::new() };
        let list = self.problems.list::<OptionRequest<'_>>(at, raw, MAX_CHOICES);
        if list.is_empty() {
            self.problems.add(at, "empty", "must have at least one option");
        }
        let known = before.map_or(&[][..], |before| &before.options);
        let mut ids = Ids::default();
        let mut read = Vec::with_capacity(list.len());
        for (index, one) in list.iter().enumerate() {
            let at = at.entry(index);
            self.problems.odd(&at, &one.odd);
            let name = self.problems.text(at.field("name"), one.name, MAX_NAME_CHARS);
            let price = match one.price {
                None => Some(Money::from_minor(0, currency)),
                some => self.problems.signed(at.field("price"), some, currency),
            };
            let was = known.iter().map(|was| (was.id, was.name.as_str()));
            let id = ids.of(&mut self.problems, &at, one.id, name.as_deref(), was);
            let (Some(id), Some(name), Some(price)) = (id, name, price) else { continue };
            read.push(Choice { id, name, price_minor: price.minor() });
        }
        read
    }

    fn picture(&mut self, raw: &RawValue) -> Option<String> {
        let url = self.problems.text("picture_url", Some(raw), MAX_URL_CHARS)?;
        // Shown to everybody: neither a script nor a file of whoever looks.
        if !["https://", "http://"].iter().any(|scheme| url.starts_with(scheme)) || url.contains(' ') {
            self.problems.add("picture_url", "invalid", "must begin with https:// or http://");
        }
        Some(url)
    }

    fn locations(&mut self, raw: &RawValue) -> Vec<String> {
        let Ok(mut locations) = serde_json::from_str::<Vec<String>>(raw.get()) else {
            self.problems.add("locations", "not_a_list", "must be a list of strings");
            return Vec::new();
        };
        if let Some(index) = locations.iter().position(|id| !is_id(id)) {
            let at = At::Top.field("locations");
            self.problems.add(at.entry(index), "unknown_location", "must be the id of a location");
        }
        locations.sort_unstable();
        locations.dedup();
        if locations.is_empty() {
            self.problems.add("locations", "empty", "must have at least one location");
        } else if locations.len() > MAX_LOCATIONS {
            let detail = format!("must have at most {MAX_LOCATIONS} entries");
            self.problems.add("locations", "too_many", detail);
        }
        locations
    }
}

/// The ids of a list, of which none may be named twice, and no two things called the same.
#[derive(Default)]
struct Ids {
    taken: HashSet<Uuid>,
    names: HashSet<String>,
}

impl Ids {
    /// That which is named; else of what was called so; else a new one.
    fn of<'k>(
        &mut self,
        problems: &mut Problems,
        at: &At<'_>,
        raw: Option<&RawValue>,
        name: Option<&str>,
        mut known: impl Iterator<Item = (Uuid, &'k str)>,
    ) -> Option<Uuid> {
        let found = match raw {
            Some(raw) => {
                let id = id(problems, at.field("id"), Some(raw))?;
                if !known.any(|(known, _)| known == id) {
                    problems.add(at.field("id"), "no_id", "is none of this product");
                    return None;
                }
                id
            }
            None => known.find(|(_, was)| Some(*was) == name).map_or_else(Uuid::now_v7, |(id, _)| id),
        };
        let is_new_name = name.is_none_or(|name| self.names.insert(name.to_lowercase()));
        if !is_new_name || !self.taken.insert(found) {
            problems.add(at.field("name"), "repeated", "is called as another one");
            return None;
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Product, Vec<Problem>> {
        Product::parse(&serde_json::from_str(json).unwrap())
    }

    fn wrong(json: &str) -> Vec<(String, &'static str)> {
        parse(json).unwrap_err().into_iter().map(|problem| (problem.attr, problem.code)).collect()
    }

    const SIZES: &str = r#"[{"name":"Small","price":3.00},{"name":"Large","price":4.50}]"#;

    fn latte() -> Product {
        parse(&format!(
            r#"{{"name":"Latte","currency":"EUR","locations":["main"],"variations":{SIZES},"option_groups":
            [{{"name":"Syrup","max":2,"options":[{{"name":"Vanilla","price":0.5}},{{"name":"None"}}]}}]}}"#
        ))
        .unwrap()
    }

    #[test]
    fn what_comes_in_variations_costs_what_the_cheapest_costs() {
        let latte = latte();
        assert_eq!(latte.price.to_string(), "3.00");
        assert_eq!((latte.option_groups[0].min, latte.option_groups[0].max), (0, 2));
        assert_eq!(latte.option_groups[0].options[0].price_minor, 50);
        let free = parse(r#"{"name":"Water","price":0}"#).unwrap();
        assert_eq!((free.price.minor(), free.locations), (0, vec!["main".to_owned()]));
        assert_eq!(
            wrong(&format!(r#"{{"name":"x","price":1,"variations":{SIZES}}}"#)),
            [("price".to_owned(), "conflict")]
        );
        assert_eq!(wrong("{}"), [("name".to_owned(), "required"), ("price".to_owned(), "required")]);
    }

    #[test]
    fn a_variation_stays_the_same_one_by_its_id_and_by_its_name() {
        let before = latte();
        let [small, large] = [before.variations[0].id, before.variations[1].id];
        let renamed = format!(
            r#"{{"variations":[{{"id":"{large}","name":"Huge","price":5}},{{"name":"Small","price":3.1}},{{"name":"Tiny","price":1}}]}}"#
        );
        let after = before.change(&serde_json::from_str(&renamed).unwrap()).unwrap();
        assert_eq!((after.variations[0].id, after.variations[1].id), (large, small));
        assert!(![small, large].contains(&after.variations[2].id));
        assert_eq!((after.name.as_str(), after.price.to_string()), ("Latte", "1.00".to_owned()));
        assert_eq!(after.option_groups, before.option_groups, "what is left out stays");
        let whole = before.replace(&serde_json::from_str(r#"{"name":"Latte","price":2}"#).unwrap()).unwrap();
        assert!(whole.variations.is_empty() && whole.option_groups.is_empty() && whole.id == before.id);

        let other = latte();
        let stolen =
            format!(r#"{{"variations":[{{"id":"{}","name":"x","price":1}}]}}"#, other.variations[0].id);
        let refused = before.change(&serde_json::from_str(&stolen).unwrap()).unwrap_err();
        assert_eq!((refused[0].attr.as_str(), refused[0].code), ("variations[0].id", "no_id"));
    }

    #[test]
    fn all_that_is_wrong_comes_with_its_place() {
        let twice = r#"{"name":"x","variations":[{"name":"S","price":1},{"name":"s","price":-2}]}"#;
        let at = |place: &str| place.to_owned();
        assert_eq!(
            wrong(twice),
            [(at("variations[1].price"), "negative"), (at("variations[1].name"), "repeated")]
        );
        let group = |fields: &str| {
            wrong(&format!(r#"{{"name":"x","price":1,"option_groups":[{{"name":"g",{fields}}}]}}"#))
        };
        assert_eq!(group(r#""options":[]"#), [(at("option_groups[0].options"), "empty")]);
        assert_eq!(
            group(r#""min":2,"options":[{"name":"a"}]"#),
            [(at("option_groups[0].min"), "out_of_range")]
        );
        assert_eq!(
            wrong(
                r#"{"name":"x","price":1,"picture_url":"javascript:alert(1)","category_id":"drinks","stock":1}"#
            ),
            [(at("stock"), "unknown_field"), (at("picture_url"), "invalid"), (at("category_id"), "no_id")]
        );
        assert_eq!(wrong(r#"{"name":"x","price":1,"locations":[]}"#), [(at("locations"), "empty")]);
        assert_eq!(
            wrong(r#"{"name":"x","price":1,"locations":["main","a\u0000"]}"#),
            [(at("locations[1]"), "unknown_location")]
        );
        let euros = latte().change(&serde_json::from_str(r#"{"currency":"USD"}"#).unwrap()).unwrap_err();
        assert_eq!(euros[0].code, "conflict");
    }
}
