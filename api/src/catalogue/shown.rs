//! The catalogue as it is shown: each product is written as JSON once, when it changed, and a page is put together of those.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::response::Response;
use domain::catalogue::category::Category;
use domain::catalogue::menu::Menu;
use domain::catalogue::product::Product;
use domain::money::Money;
use sha2::{Digest, Sha256};
use store::catalogue::{categories, products};
use uuid::Uuid;

use super::view::ProductView;

/// All that can be ordered, at one version of the catalogue.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) version: i64,
    /// By their ids, which are in the order in which they were made.
    articles: Vec<Arc<Article>>,
    by_category: HashMap<Uuid, Vec<Arc<Article>>>,
    /// In the order of their positions and names.
    pub(crate) categories: Vec<Category>,
}

/// A product, and how it is shown.
#[derive(Debug)]
pub(crate) struct Article {
    pub(crate) product: Product,
    json: Vec<u8>,
    digest: u64,
}

impl Article {
    fn new(product: Product) -> Self {
        let json = ProductView::new(&product).to_json();
        let digest = Sha256::digest(&json);
        let digest = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        Self { product, json, digest }
    }
}

/// What is wanted of the catalogue.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) after: Uuid,
    pub(crate) count: usize,
    pub(crate) category: Option<Uuid>,
    pub(crate) location: Option<String>,
    /// Of this currency, and not below or above these.
    pub(crate) prices: Option<(Money, Money)>,
}

impl Wanted {
    fn fits(&self, article: &Article) -> bool {
        let product = &article.product;
        let costs = |(least, most): &(Money, Money)| {
            product.currency() == least.currency()
                && (least.minor()..=most.minor()).contains(&product.price.minor())
        };
        self.location.as_ref().is_none_or(|at| product.is_sold_at(at))
            && self.prices.as_ref().is_none_or(costs)
    }
}

impl Shown {
    /// The same with what has changed.
    pub(super) fn with(
        &self,
        version: i64,
        categories: Vec<categories::Seen>,
        products: Vec<products::Seen>,
    ) -> Self {
        let versions = categories.iter().map(|one| one.version).chain(products.iter().map(|one| one.version));
        let version = versions.fold(version, i64::max);
        let mut kept = self.categories.clone();
        for seen in categories {
            kept.retain(|one| one.id != seen.category.id);
            if !seen.deleted {
                kept.push(seen.category);
            }
        }
        kept.sort_unstable_by(|a, b| (a.position, &a.name).cmp(&(b.position, &b.name)));

        let is_there = |id: &Uuid| kept.iter().any(|category| category.id == *id);
        // One of a category that was deleted is in none.
        let placed = |mut product: Product| {
            product.category_id = product.category_id.filter(is_there);
            Arc::new(Article::new(product))
        };
        let changed: HashMap<Uuid, Option<Arc<Article>>> = products
            .into_iter()
            .map(|seen| (seen.product.id, (!seen.deleted).then(|| placed(seen.product))))
            .collect();
        let same = self.articles.iter().filter(|one| !changed.contains_key(&one.product.id)).map(|one| {
            let stays = one.product.category_id.as_ref().is_none_or(is_there);
            if stays { Arc::clone(one) } else { placed(one.product.clone()) }
        });
        let mut articles: Vec<Arc<Article>> = same.chain(changed.values().flatten().cloned()).collect();
        articles.sort_unstable_by_key(|one| one.product.id);
        let mut by_category: HashMap<Uuid, Vec<Arc<Article>>> = HashMap::new();
        for one in &articles {
            if let Some(id) = one.product.category_id {
                by_category.entry(id).or_default().push(Arc::clone(one));
            }
        }
        Self { version, articles, by_category, categories: kept }
    }

    /// One of them.
    pub(crate) fn article(&self, id: Uuid) -> Option<&Arc<Article>> {
        let at = self.articles.binary_search_by_key(&id, |one| one.product.id).ok()?;
        self.articles.get(at)
    }

    /// One of them, as it is shown.
    pub(crate) fn one(&self, id: Uuid) -> Option<Response> {
        let article = self.article(id)?;
        Some(tagged(article.json.clone(), article.digest))
    }

    /// A page.
    pub(crate) fn page(&self, wanted: &Wanted) -> Response {
        let all = match wanted.category {
            Some(id) => self.by_category.get(&id).map_or(&[][..], Vec::as_slice),
            None => &self.articles,
        };
        let first = all.partition_point(|one| one.product.id <= wanted.after);
        let mut fitting = all[first..].iter().filter(|one| wanted.fits(one));
        let page: Vec<&Arc<Article>> = fitting.by_ref().take(wanted.count).collect();
        let next = page.last().filter(|_| fitting.next().is_some()).map(|last| last.product.id);

        let length: usize = page.iter().map(|one| one.json.len() + 1).sum();
        let mut json = Vec::with_capacity(length + 96);
        json.extend_from_slice(b"{\"products\":[");
        let mut digest = 0;
        for (index, one) in page.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            json.extend_from_slice(&one.json);
            digest = folded(digest, one.digest);
        }
        json.extend_from_slice(b"],\"next_cursor\":");
        match next {
            Some(id) => {
                let mut text = Uuid::encode_buffer();
                json.push(b'"');
                json.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
                json.push(b'"');
            }
            None => json.extend_from_slice(b"null"),
        }
        json.push(b'}');
        tagged(json, folded(digest, u64::from(next.is_some())))
    }
}

impl Menu for Shown {
    fn product(&self, id: Uuid) -> Option<&Product> {
        self.article(id).map(|article| &article.product)
    }
}

/// What is shown changes with any of its parts, and with their order.
const fn folded(digest: u64, part: u64) -> u64 {
    (digest.rotate_left(5) ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn tagged(json: Vec<u8>, digest: u64) -> Response {
    let mut response = Response::new(Body::from(json));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // To be asked for again each time: a price may fall any moment.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    let tag = HeaderValue::try_from(format!("\"{digest:016x}\""));
    headers.extend(tag.ok().map(|tag| (ETAG, tag)));
    response
}
