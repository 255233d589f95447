//! issuers: whose tokens are taken, as a file says (`ISSUERS_FILE`), and what their claims mean.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use domain::person::Role;
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::Value;

use super::crypto::ALGORITHMS;

/// One issuer of tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerConfig {
    /// `iss` of its tokens, to the letter.
    pub(crate) issuer: String,
    /// One of these must be in a token's `aud`.
    pub(crate) audiences: Vec<String>,
    /// Of `RS256`, `ES256`, `EdDSA`.
    pub(crate) algorithms: Vec<Algorithm>,
    /// Its keys as a JWK set: an https URL (plain http on loopback alone), or a file. Without it the issuer is asked where
    /// they are, at `<issuer>/.well-known/openid-configuration`.
    pub(crate) keys: Option<String>,
    /// What is put before its subjects, so that they are nobody else's. Only one issuer may have none.
    #[serde(default)]
    pub(crate) prefix: String,
    /// What its claims mean.
    #[serde(default)]
    pub(crate) claims: ClaimRules,
}

/// Where in a token stands what. A name is a claim's; with a `/` before it, a path through objects (a JSON pointer).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ClaimRules {
    subject: String,
    /// A text or a list of texts; of a `scope` (RFC 8693, 4.2) each word is one.
    role: String,
    /// The issuer's words for our roles. Empty: it uses ours.
    roles: HashMap<String, Role>,
    /// Of whoever has none of these.
    default_role: Option<Role>,
    locations: String,
    channels: String,
}

impl Default for ClaimRules {
    fn default() -> Self {
        Self {
            subject: "sub".to_owned(),
            role: "role".to_owned(),
            roles: HashMap::new(),
            default_role: None,
            locations: "locations".to_owned(),
            channels: "channels".to_owned(),
        }
    }
}

/// From the weakest to the strongest: of several roles in a token the strongest counts.
const BY_STRENGTH: [Role; 5] = [Role::Customer, Role::Service, Role::Staff, Role::Manager, Role::Admin];

impl ClaimRules {
    pub(crate) fn subject<'c>(&self, claims: &'c Value) -> Option<&'c str> {
        at(claims, &self.subject)?.as_str()
    }

    pub(crate) fn role(&self, claims: &Value) -> Option<Role> {
        let one = |name: &&str| {
            if self.roles.is_empty() { Role::parse(name) } else { self.roles.get(*name).copied() }
        };
        let named: HashSet<Role> = texts(claims, &self.role).iter().filter_map(one).collect();
        BY_STRENGTH.into_iter().rev().find(|role| named.contains(role)).or(self.default_role)
    }

    pub(crate) fn locations(&self, claims: &Value) -> Vec<String> {
        texts(claims, &self.locations).into_iter().map(str::to_owned).collect()
    }

    pub(crate) fn channels(&self, claims: &Value) -> Vec<String> {
        texts(claims, &self.channels).into_iter().map(str::to_owned).collect()
    }
}

fn at<'c>(claims: &'c Value, place: &str) -> Option<&'c Value> {
    if place.starts_with('/') { claims.pointer(place) } else { claims.get(place) }
}

fn texts<'c>(claims: &'c Value, place: &str) -> Vec<&'c str> {
    match at(claims, place) {
        // Of these two, by any issuer, and of no others: a role's name may have a space in it.
        Some(Value::String(words)) if matches!(place, "scope" | "scp") => words.split(' ').collect(),
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Reads the file: a JSON list of issuers.
pub(crate) fn read(path: &PathBuf) -> Result<Vec<IssuerConfig>> {
    let place = || format!("ISSUERS_FILE {}", path.display());
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", place()))?;
    let issuers: Vec<IssuerConfig> =
        serde_json::from_str(&text).with_context(|| format!("{} is not a list of issuers", place()))?;
    check(&issuers).with_context(place)?;
    Ok(issuers)
}

fn check(issuers: &[IssuerConfig]) -> Result<()> {
    let mut names = HashSet::new();
    let mut prefixes = HashSet::new();
    for issuer in issuers {
        let name = &issuer.issuer;
        ensure!(!name.is_empty(), "an issuer has no name");
        ensure!(names.insert(name), "{name} stands there twice");
        ensure!(!issuer.audiences.is_empty(), "{name} has no audiences: tokens for anybody would be taken");
        ensure!(!issuer.algorithms.is_empty(), "{name} has no algorithms");
        if let Some(other) = issuer.algorithms.iter().find(|algorithm| !ALGORITHMS.contains(algorithm)) {
            bail!("{name} has the algorithm {other:?}; RS256, ES256 and EdDSA are taken");
        }
        ensure!(
            prefixes.insert(&issuer.prefix),
            "{name} has the same prefix as another issuer: their people could be taken for each other"
        );
        // A subject must not reach into what another prefix or our own words begin.
        ensure!(
            !["staff", "customer", "service", "worker"].iter().any(|word| issuer.prefix.starts_with(word)),
            "{name}: the prefix {} is a word of ours",
            issuer.prefix
        );
    }
    for one in issuers {
        for other in issuers.iter().filter(|other| other.issuer != one.issuer && !one.prefix.is_empty()) {
            ensure!(
                !other.prefix.starts_with(&one.prefix),
                "the prefix of {} begins that of {}",
                one.issuer,
                other.issuer
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(rules: Value) -> ClaimRules {
        serde_json::from_value(rules).unwrap()
    }

    #[test]
    fn the_strongest_role_that_is_named_counts_and_unknown_words_are_none() {
        let own = ClaimRules::default();
        assert_eq!(own.role(&json!({"role": "staff"})), Some(Role::Staff));
        assert_eq!(own.role(&json!({"role": ["customer", "manager", "root"]})), Some(Role::Manager));
        assert_eq!(own.role(&json!({"role": "root"})), None);
        assert_eq!(own.role(&json!({"role": {"admin": true}})), None);
        assert_eq!(own.role(&json!({"role": "kitchen admin"})), None, "one name, not two");
        let scope = rules(json!({"role": "scope", "roles": {"kitchen": "staff"}}));
        assert_eq!(scope.role(&json!({"scope": "openid kitchen"})), Some(Role::Staff));
        assert_eq!(scope.role(&json!({"scope": "openid kitchens admin"})), None);
        let theirs = rules(json!({"role": "/realm_access/roles", "roles": {"kitchen": "staff"},
            "default_role": "customer", "subject": "https://example.com/id"}));
        assert_eq!(theirs.role(&json!({"realm_access": {"roles": ["x", "kitchen"]}})), Some(Role::Staff));
        // Our own word is not theirs.
        assert_eq!(theirs.role(&json!({"realm_access": {"roles": ["admin"]}})), Some(Role::Customer));
        assert_eq!(theirs.subject(&json!({"sub": "a", "https://example.com/id": "b"})), Some("b"));
    }

    #[test]
    fn a_file_that_would_let_in_too_many_is_refused() {
        let good =
            json!({"issuer": "https://a", "audiences": ["comanda"], "algorithms": ["RS256"], "keys": "x"});
        let checked =
            |many: Value| -> Result<()> { check(&serde_json::from_value::<Vec<IssuerConfig>>(many)?) };
        assert!(checked(json!([good])).is_ok());
        let with = |field: &str, value: Value| {
            let mut one = good.clone();
            one[field] = value;
            one
        };
        for (field, value) in [
            ("audiences", json!([])),
            ("algorithms", json!([])),
            ("algorithms", json!(["HS256"])),
            ("algorithms", json!(["none"])),
            ("prefix", json!("service:")),
            ("surprise", json!(1)),
        ] {
            assert!(checked(json!([with(field, value.clone())])).is_err(), "{field}: {value}");
        }
        assert!(checked(json!([good, good])).is_err(), "twice");
        let mut other = with("issuer", json!("https://b"));
        assert!(checked(json!([good, other])).is_err(), "of one prefix");
        other["prefix"] = json!("b:");
        assert!(checked(json!([good, other])).is_ok());
        let mut third = with("issuer", json!("https://c"));
        third["prefix"] = json!("b:c:");
        assert!(checked(json!([other, third])).is_err(), "one prefix begins the other");
    }
}
