//! Short histories by name, through the whole machine: each is a way in which things can come in the wrong order, late,
//! twice or never, and says what must come of it.

mod answers;
mod basics;
mod edits;
mod requests;
mod restarts;
mod scale;
mod variants_tests;
mod writes;
