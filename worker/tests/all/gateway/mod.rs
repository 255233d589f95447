mod answers;
mod on_the_wire;
