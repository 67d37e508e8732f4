//! One sentence for a tired person.
