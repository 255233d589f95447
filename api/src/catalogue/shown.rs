//! The catalogue as it is shown: each product is written as JSON once, when it changed, and a page is put together of those.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::response::Response;
use domain::catalogue::category::Category;
use domain::catalogue::menu::Menu;
use domain::catalogue::product::Product;
use domain::money::Money;
use sha2::{Digest, Sha256};
use store::catalogue::{Versions, categories, products};
use store::stock::Turned;
use uuid::Uuid;

use super::view::ProductView;

/// All that can be ordered, at one version of the catalogue.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) versions: Versions,
    /// Of what is counted, what there is any of.
    there: HashSet<Uuid>,
    /// Whether what is sold out is left out of lists.
    hides_sold_out: bool,
    /// By their ids, which are in the order in which they were made.
    articles: Vec<Arc<Article>>,
    by_category: HashMap<Uuid, Vec<Arc<Article>>>,
    /// In the order of their positions and names.
    pub(crate) categories: Vec<Category>,
    /// By what the till calls them, or one of their variations: looked up by orders of channels alone, and made for the first of them.
    by_plu: OnceLock<HashMap<String, Vec<Arc<Article>>>>,
}

/// What has changed since.
pub(super) struct News {
    pub(super) versions: Versions,
    pub(super) categories: Vec<categories::Seen>,
    pub(super) products: Vec<products::Seen>,
    pub(super) turned: Vec<Turned>,
}

/// A product, and how it is shown.
#[derive(Debug)]
pub(crate) struct Article {
    pub(crate) product: Product,
    sold_out: bool,
    json: Vec<u8>,
    digest: u64,
}

impl Article {
    fn new(product: Product, there: &HashSet<Uuid>) -> Self {
        let view = ProductView::new(&product, |item| there.contains(&item));
        let (sold_out, json) = (view.sold_out, view.to_json());
        let digest = Sha256::digest(&json);
        let digest = digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        Self { product, sold_out, json, digest }
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
    /// Only what there is, or only what is sold out.
    pub(crate) in_stock: Option<bool>,
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
            && self.in_stock.is_none_or(|wanted| wanted != article.sold_out)
    }
}

impl Shown {
    /// Nothing is known yet. `hides_sold_out`: what is sold out is to be left out of lists.
    pub(super) fn empty(hides_sold_out: bool) -> Self {
        Self { hides_sold_out, ..Self::default() }
    }

    /// The same with what has changed.
    pub(super) fn with(&self, news: News) -> Self {
        let News { mut versions, categories, products, turned } = news;
        let newest = categories.iter().map(|one| one.version).chain(products.iter().map(|one| one.version));
        versions.articles = newest.fold(versions.articles, i64::max);
        versions.stock = turned.iter().map(|one| one.version).fold(versions.stock, i64::max);
        let (mut there, mut moved) = (self.there.clone(), HashSet::new());
        for one in turned {
            moved.insert(one.product_id);
            if one.is_there {
                there.insert(one.item);
            } else {
                there.remove(&one.item);
            }
        }
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
            Arc::new(Article::new(product, &there))
        };
        let changed: HashMap<Uuid, Option<Arc<Article>>> = products
            .into_iter()
            .map(|seen| (seen.product.id, (!seen.deleted).then(|| placed(seen.product))))
            .collect();
        let same = self.articles.iter().filter(|one| !changed.contains_key(&one.product.id)).map(|one| {
            let stays =
                one.product.category_id.as_ref().is_none_or(is_there) && !moved.contains(&one.product.id);
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
        let hides_sold_out = self.hides_sold_out;
        let by_plu = OnceLock::new();
        Self { versions, there, hides_sold_out, articles, by_category, categories: kept, by_plu }
    }

    /// Whether there is any of this, which is counted.
    pub(super) fn is_there(&self, item: Uuid) -> bool {
        self.there.contains(&item)
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
        let is_shown =
            |one: &Article| !(self.hides_sold_out && one.sold_out) || wanted.in_stock == Some(false);
        let mut fitting = all[first..].iter().filter(|one| is_shown(one) && wanted.fits(one));
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

    fn by_plu(&self, plu: &str, location: &str) -> Option<&Product> {
        let index = self.by_plu.get_or_init(|| {
            let mut index: HashMap<String, Vec<Arc<Article>>> = HashMap::new();
            for one in &self.articles {
                for plu in one.product.plus() {
                    index.entry(plu.to_owned()).or_default().push(Arc::clone(one));
                }
            }
            index
        });
        let mut all = index.get(plu)?.iter().map(|one| &one.product);
        all.find(|product| product.is_sold_at(location))
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
