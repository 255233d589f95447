//! What documents of a platform come to here: each, its own total, ours, and the verdict. `make documents DIR=.. DIALECT=..`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use domain::channel::dialect::Dialect;
use domain::channel::name::ChannelName;
use domain::channel::settings::ChannelSettings;
use domain::money::currency_of;
use serde_json::Value;
use serde_json::value::RawValue;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(dialect)) = (args.next(), args.next().and_then(|name| Dialect::of_name(&name)))
    else {
        println!("usage: documents DIR DIALECT [CURRENCY]; DIALECT is deliverect, shopify or woocommerce");
        return ExitCode::FAILURE;
    };
    let currency = args.next().and_then(|code| currency_of(&code.to_uppercase()));
    let settings = ChannelSettings { dialect, currency, ..ChannelSettings::default() };
    let Ok(all) = table(Path::new(&dir), &settings) else {
        println!("cannot read {dir}");
        return ExitCode::FAILURE;
    };
    println!("{:<44} {:>16} {:>16}  verdict", "document", "its total", "ours");
    for [name, own, ours, verdict] in all {
        println!("{name:<44} {own:>16} {ours:>16}  {verdict}");
    }
    ExitCode::SUCCESS
}

/// Each document of a folder: its name, its own total, ours, and the verdict.
fn table(dir: &Path, settings: &ChannelSettings) -> std::io::Result<Vec<[String; 4]>> {
    let files = std::fs::read_dir(dir)?.flatten().map(|file| file.path());
    let mut files: Vec<_> = files.filter(|file| file.is_file()).collect();
    files.sort();
    let row = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (own, ours, verdict) = read(file, settings);
        [name, own, ours, verdict]
    };
    Ok(files.iter().map(row).collect())
}

/// Its own total as it stands there, ours, and what is to be said of it.
fn read(file: &Path, settings: &ChannelSettings) -> (String, String, String) {
    let none = || "-".to_owned();
    let Ok(text) = std::fs::read_to_string(file) else {
        return (none(), none(), "refused: cannot be read".to_owned());
    };
    let (Ok(document), Ok(json)) =
        (serde_json::from_str::<&RawValue>(&text), serde_json::from_str::<Value>(&text))
    else {
        return (none(), none(), "refused: is not JSON".to_owned());
    };
    let place = match settings.dialect {
        Dialect::Deliverect => "/payment/amount",
        Dialect::Shopify => "/total_price",
        Dialect::Plain | Dialect::WooCommerce => "/total",
    };
    let own = json.pointer(place).map_or_else(none, |own| own.to_string().replace('"', ""));
    let Ok(channel) = ChannelName::parse("documents") else { return (own, none(), none()) };
    match settings.dialect.read(channel, document, settings, Duration::ZERO) {
        None => (own, none(), "this dialect needs a channel's price list".to_owned()),
        Some(Ok(read)) => {
            let sum = read.order.total;
            let verdict = if read.is_cancelled { "called off" } else { "taken" };
            (own, format!("{sum} {}", sum.currency().code()), verdict.to_owned())
        }
        Some(Err(problems)) => {
            let all: Vec<_> =
                problems.iter().map(|one| format!("{}: {} ({})", one.attr, one.detail, one.code)).collect();
            (own, none(), format!("refused: {}", all.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::money::Currency;

    use super::*;

    /// The golden documents of a dialect, as they are shown; of the verdict up to its details.
    fn shown(dialect: Dialect) -> Vec<String> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(dialect.name());
        let settings =
            ChannelSettings { dialect, currency: Some(Currency::EUR), ..ChannelSettings::default() };
        let line = |[name, own, ours, verdict]: [String; 4]| {
            format!("{} | {own} | {ours} | {verdict}", name.trim_end_matches(".json"))
        };
        table(&dir, &settings).unwrap().into_iter().map(line).collect()
    }

    #[test]
    fn each_golden_document_is_shown_with_both_totals_and_its_verdict() {
        assert_eq!(
            shown(Dialect::Deliverect),
            [
                "all_charges_cash | 1499 | 14.99 EUR | taken",
                "deep | 2910 | 29.10 EUR | taken",
                "eat_in | 1300 | 13.00 EUR | taken",
                "example_of_the_channel_api | 1250 | 12.50 EUR | taken",
                "free | 0 | 0.00 EUR | taken",
                "modifiers_for_each | 1000 | 10.00 EUR | taken",
                "refused_amount | 9999 | - | refused: payment.amount: says 99.99; the order comes to 8.50 (total_mismatch)",
                "refused_half_minor | 850 | - | refused: items[0].price: has more decimal places than its currency allows (too_precise)",
                "tax_total | 901 | 9.01 EUR | taken",
                "taxes_included | 850 | 8.50 EUR | taken",
                "taxes_on_top | 1133 | 11.33 EUR | taken",
                "variant | 1100 | 11.00 EUR | taken",
                "yen_with_two_digits | 120000 | 1200 JPY | taken",
            ]
        );
        assert_eq!(
            shown(Dialect::Shopify),
            [
                "cancelled | 13.50 | 13.50 USD | called off",
                "discount_and_shipping | 388.00 | 388.00 USD | taken",
                "refused_partly_paid | 13.50 | - | refused: financial_status: \"partially_paid\" does not say who is to take the money (unknown_method)",
                "taxes_included_to_be_paid | 27.00 | 27.00 EUR | taken",
                "taxes_on_top_and_tip | 32.16 | 32.16 USD | taken",
            ]
        );
        assert_eq!(
            shown(Dialect::WooCommerce),
            [
                "cancelled | 1.67 | 1.67 USD | called off",
                "coupon_thirds_cash | 8.20 | 8.20 EUR | taken",
                "refused_waits_for_a_transfer | 1.67 | - | refused: date_paid_gmt: is neither paid nor to be paid at the door (not_paid)",
                "rounded_by_a_cent | 4.00 | 4.00 USD | taken",
                "shipping_and_tax | 29.35 | 29.35 USD | taken",
            ]
        );
    }

    #[test]
    fn what_is_no_document_is_shown_as_what_it_is() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let settings = ChannelSettings { dialect: Dialect::Shopify, ..ChannelSettings::default() };
        let all = table(dir, &settings).unwrap();
        let manifest = all.iter().find(|row| row[0] == "Cargo.toml").unwrap();
        assert_eq!(manifest[1..], ["-", "-", "refused: is not JSON"]);
        assert!(table(&dir.join("nowhere"), &settings).is_err());
    }
}
