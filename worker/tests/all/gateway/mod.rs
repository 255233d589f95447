mod answers;
mod on_the_wire;
mod receipts;
mod tokens;
mod waits;
