//! What can be wrong, in one table: the kinds of problems, which are the `type` of an error's body, and the codes of its
//! `errors`. Each has a page (`pages.rs`). A code that is missing here ends any test that meets it.

use axum::http::StatusCode;
use serde::Serialize;

/// What a problem means.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Meaning {
    /// The last part of a `type`, or a code.
    pub name: &'static str,
    /// For a `type`: the HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// For people.
    pub meaning: &'static str,
}

/// The kinds, by their status.
const KINDS: [(StatusCode, &str, &str); 15] = [
    (StatusCode::BAD_REQUEST, "bad-request", "The body is not JSON, or it broke off."),
    (
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "There is no token, or one that is not good, or no longer. Log in, or refresh it.",
    ),
    (StatusCode::FORBIDDEN, "forbidden", "The token is good, and whoever it names may not do this."),
    (StatusCode::NOT_FOUND, "not-found", "There is no such order or page, or it belongs to somebody else."),
    (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The address is right, the method is not."),
    (StatusCode::REQUEST_TIMEOUT, "request-timeout", "The body did not come in time. Send it again."),
    (
        StatusCode::CONFLICT,
        "conflict",
        "It was not possible as things stand now. The code in `errors` says why, `current_status` where the order stands.",
    ),
    (StatusCode::GONE, "gone", "It was there, and is no longer. The code in `errors` says what."),
    (
        StatusCode::PRECONDITION_FAILED,
        "precondition-failed",
        "The order is no longer as `If-Match` says. Read it again, and decide again.",
    ),
    (StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", "The body is larger than this service takes."),
    (
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported-media-type",
        "The body must be JSON in UTF-8, declared as such, and not compressed.",
    ),
    (
        StatusCode::UNPROCESSABLE_ENTITY,
        "unprocessable-entity",
        "JSON, but not valid here. `errors` names everything that is wrong, each with a code and its place.",
    ),
    (
        StatusCode::TOO_MANY_REQUESTS,
        "too-many-requests",
        "Too many come at once. Try again after `Retry-After` seconds.",
    ),
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal-server-error",
        "A fault of ours. It has been logged under the request's id, which `instance` names.",
    ),
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "service-unavailable",
        "Not right now. Repeat the request after `Retry-After` seconds, an order under the same `Idempotency-Key`: it may have been accepted.",
    ),
];

/// The codes of `errors`.
const CODES: [(&str, &str); 101] = [
    ("another_location", "The order was given to another location. Cancel it there, and send it anew."),
    (
        "below_zero",
        "What is taken off is more than there is: no line and no order comes to less than nothing.",
    ),
    ("cart_changed", "The cart is not as it was read, or was ordered already. Look at it again."),
    ("charges_open", "Additions are still being charged. Try again in a moment."),
    ("conflict", "Two parts of the request contradict each other. Leave one out."),
    ("control_character", "A text has characters that no name has, such as a line break."),
    (
        "cursor_gone",
        "What follows the cursor is no longer kept, or the database was restored. Go on from `earliest_cursor`, and read anew what matters.",
    ),
    (
        "deadline_passed",
        "The kitchen did not take the order by `accept_by`. It is about to be rejected, and its money goes back.",
    ),
    ("duplicate_channel_order_id", "The channel has sent this order id before, with other content."),
    (
        "duplicate_payment_reference",
        "The order has a payment of this reference already: this request was sent before.",
    ),
    ("email_taken", "Somebody else has this e-mail address."),
    ("empty", "Must not be empty."),
    ("from_after_to", "What is to end must end after it begins."),
    ("illegal_move", "An order that stands where this one stands cannot go where it was asked to."),
    ("in_the_past", "A time to come is wanted."),
    ("invalid", "Not what is taken here; the detail says what is."),
    ("invisible_character", "A text has characters that nobody sees, such as a zero-width space."),
    (
        "key_reused",
        "The `Idempotency-Key` was used before, for another request. A key is for one request and its repetitions.",
    ),
    ("kitchen_began", "The order goes as it was ordered: the kitchen has begun with it, or it has ended."),
    ("last_admin", "The last administrator must stay one."),
    ("location_taken", "There is a location of this id, perhaps a closed one."),
    ("main_stays", "Whatever names no location belongs to `main`, which is always open."),
    ("name_taken", "Another one is called so."),
    ("negative", "An amount must not be below zero."),
    ("no_date", "Not a day, such as 2026-01-31."),
    ("no_email", "Not an e-mail address."),
    ("no_id", "Not an id that was given here, or not one of this thing."),
    ("no_key", "There is no key that secrets could be sealed with: the service needs SECRETS_KEY_FILE."),
    ("no_phone", "Not a telephone number."),
    ("no_phone_number", "Not a telephone number."),
    ("no_price", "Neither the document nor the channel's price list has a price for this article."),
    ("no_such_order", "The channel calls off an order that it never sent."),
    ("no_time", "Not a time as RFC 3339 has it. In a URL, a + is written as %2B."),
    ("no_url", "Not an address that can be sent to."),
    ("no_worth", "The line comes to less than nothing, or to more than an amount may be."),
    ("not_a_flag", "Must be true or false."),
    ("not_a_list", "Must be a list."),
    ("not_an_object", "Must be a JSON object, each field given once."),
    ("not_an_order", "Must be a JSON object with the fields of an order, each given once."),
    (
        "not_believed",
        "The channel has no settings here, so that it is not believed to have taken the money. Somebody of the house has to set them.",
    ),
    ("not_decimal", "An amount must be a decimal number, such as 12.99."),
    ("not_open", "Nothing can be added to the order any more."),
    ("not_paid", "The order is neither paid nor to be paid at the door: it is no order yet."),
    (
        "not_plain",
        "The plain dialect does not know this amount: the channel speaks another dialect, which its settings have to say.",
    ),
    ("not_sold_here", "The product is sold at other locations."),
    ("not_text", "Must be a string."),
    ("not_told", "Nothing can be told to a platform that speaks this dialect."),
    ("not_tracked", "The product is not counted, or there is no such variation: there is no stock of it."),
    ("not_true_or_false", "Must be true or false."),
    ("not_whole", "Must be a whole number."),
    (
        "nothing_due",
        "No money is awaited for the order: it came in, or never had to, or the order has ended.",
    ),
    ("nothing_to_pay", "What is added to an order must cost something."),
    ("other_amount_due", "What came in is not what was due. The order says what is."),
    (
        "other_currency",
        "The product's price, or the channel's price list, is in another currency than the order.",
    ),
    ("out_of_range", "The number is too small or too large."),
    (
        "out_of_stock",
        "There is not enough of what is wanted; `short` says how many there are. Nothing was taken.",
    ),
    ("phone_taken", "Somebody else has this telephone number."),
    ("plu_taken", "Another product that is sold at the same place has this plu."),
    (
        "price_mismatch",
        "The catalogue has another price than the one that was named: it may have changed. Look again, and ask again.",
    ),
    ("repeated", "The same thing is named twice."),
    ("required", "Is missing."),
    ("same_status", "The order stands there already."),
    ("set_with_channel", "The webhook is a channel's platform. It is set together with the channel."),
    (
        "too_deep",
        "Pages have numbers for the first orders of a list only. Follow `next_cursor` to those behind.",
    ),
    ("too_easy", "The password is too easy to guess."),
    ("too_far", "A time within the next days is wanted."),
    ("too_far_apart", "So much time at once is too much. Ask for less, or for longer periods."),
    ("too_few", "More of this group of options must be chosen."),
    ("too_large", "The amount is larger than can be charged."),
    ("too_long", "The text is too long."),
    ("too_many", "More than may be."),
    ("too_precise", "The amount has more places than its currency."),
    ("too_short", "The text is too short."),
    ("total_mismatch", "The lines and the amounts beside them come to another total than the order says."),
    ("unit_unclear", "Whether prices are in minor units is for the settings of the channel to say."),
    ("unknown_action", "Must be `set`, `add`, `count` or `ship`."),
    ("unknown_address", "The customer keeps no such address."),
    ("unknown_category", "There is no such category, or no longer."),
    ("unknown_currency", "Not a currency's ISO 4217 code."),
    ("unknown_dialect", "There is no such dialect."),
    ("unknown_field", "Nobody here knows this field. It may be misspelt."),
    ("unknown_format", "Must be `json` or `csv`."),
    ("unknown_fulfilment", "Must be `delivery`, `pickup` or `dine_in`."),
    ("unknown_granularity", "Must be `hour`, `day`, `week` or `month`."),
    ("unknown_kind", "There is no such kind of amount."),
    (
        "unknown_location",
        "There is no such location, or it is closed; or a channel names one that its settings do not name.",
    ),
    (
        "unknown_mail",
        "No mail is called so. The usual ones: `created`, `confirmed`, `ready`, `rejected`, `cancelled`, `refunded`.",
    ),
    ("unknown_method", "Must be `card`, `on_delivery` or `elsewhere`."),
    ("unknown_option", "The product has no such option, or no longer."),
    ("unknown_payload", "Must be `thin`, `order` or `full`."),
    ("unknown_product", "There is no such product, or no longer."),
    ("unknown_products", "Products are named `by_plu`, or not at all."),
    ("unknown_role", "There is no such role."),
    ("unknown_status", "There is no such status."),
    ("unknown_time_zone", "Not the name of a time zone as IANA has it."),
    ("unknown_type", "No event is called so, or begins so."),
    ("unknown_unit", "Must be `decimals` or `minor`."),
    ("unknown_variation", "The product has no such variation, or no longer."),
    ("unreadable", "Nests too deep, or has a number or a character that there is not."),
    (
        "version_changed",
        "The order's version is not the one that `If-Match` names. Read it again, and decide again.",
    ),
    ("wrong_sign", "A discount must not be above zero; a fee, a tip and a tax not below."),
];

/// The name of a kind.
pub(crate) fn kind(status: StatusCode) -> &'static str {
    let kind = KINDS.iter().find(|(of, ..)| *of == status).map(|(_, name, _)| *name);
    debug_assert!(kind.is_some(), "{status} is not in the table");
    kind.unwrap_or("internal-server-error")
}

/// Whether there is such a code.
pub(crate) fn is_known(code: &str) -> bool {
    CODES.binary_search_by_key(&code, |(name, _)| name).is_ok()
}

/// Everything that can be wrong.
pub(crate) fn all() -> impl Iterator<Item = Meaning> {
    let kinds =
        KINDS.iter().map(|(status, name, meaning)| Meaning { name, status: Some(status.as_u16()), meaning });
    kinds.chain(CODES.iter().map(|(name, meaning)| Meaning { name, status: None, meaning }))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The sources below `dir`, but for this table.
    fn sources(dir: &Path, text: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, text);
            } else if !path.ends_with("http/codes.rs") && !path.ends_with("tests.rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                // Tests name codes, too, here as in files of theirs.
                let source = source.split("#[cfg(test)]\nmod ").next().unwrap();
                // As if each call stood on one line.
                let words: Vec<&str> = source.split_whitespace().collect();
                *text += &words.join(" ").replace("( ", "(");
            }
        }
    }

    #[test]
    fn every_code_is_used_and_every_code_that_is_used_is_in_the_table() {
        assert!(CODES.is_sorted(), "looked up by halves");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut text = String::new();
        sources(&here.join("src"), &mut text);
        sources(&here.join("../shared/domain/src"), &mut text);
        for (code, _) in CODES {
            assert!(text.contains(&format!("\"{code}\"")), "nobody says {code}");
        }
        // How codes are said; those that are said otherwise are met by tests.
        let said = ["Problem { code: \"", "ApiError::conflict(\"", "return Some((\"", "Err((\""];
        for before in said {
            for code in text.split(before).skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(is_known(code), "{code} is not in the table");
            }
        }
        for before in [".add(\"", "invalid_one(\"", "taken(\"", "problem(\""] {
            for rest in text.split(before).skip(1) {
                let code = rest.split('"').nth(2).unwrap_or_default();
                let is_code = rest.split('"').nth(1) == Some(", ");
                assert!(!is_code || is_known(code), "{code} is not in the table");
            }
        }
    }
}
