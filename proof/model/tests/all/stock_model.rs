//! What orders take of what is counted, and give back.

use model::search;
use model::stock::{Stock, weakenings};

#[test]
fn a_piece_is_held_by_one_and_goes_back_or_is_sold_once() {
    let walk = search::walk_plain(Stock::default());
    println!("stock: {walk}");
    assert!(walk.broken.is_empty() && walk.unseen.is_empty(), "{walk}");
}

#[test]
fn each_part_of_it_is_needed() {
    for (name, stock, falls) in weakenings() {
        let Some(path) = search::shortest(stock, falls) else { panic!("{name} does not break \"{falls}\"") };
        println!("{name} breaks \"{falls}\":\n{}", search::tell(path));
    }
}
