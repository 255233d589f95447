mod channel_input;
mod from_channels;
mod keyed_moves;
mod keys;
mod order_input;
mod reading;
mod staff_and_customers;
mod versions;
