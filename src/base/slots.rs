//! A table of fixed size whose places are used again.
//!
//! Owns: places, and keys that tell a place's present tenant from its former ones.
//! Refuses to know: what lives there.
//!
//! The table is reserved at once and touched only as far as it was ever used: a reserved page that
//! nobody wrote costs an address and no memory. A key carries the generation of its place, so a key
//! that outlived its tenant finds nothing, where an index alone would find a stranger.

/// Names one tenant of a [`Slots`], for as long as it lives there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The place, below the largest capacity that the table ever had: the same for each of its tenants in turn.
    pub index: u32,
    generation: u32,
}

impl Key {
    /// A key for the first tenant of a place, for tests of whoever is handed keys.
    #[must_use]
    pub const fn first_at(index: u32) -> Key {
        Key { index, generation: 0 }
    }
}

/// Every place is taken. The value comes back to its owner.
#[derive(Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

enum Place<T> {
    Taken(T),
    /// Free, and after it the next free place.
    Free(Option<u32>),
}

struct Slot<T> {
    generation: u32,
    place: Place<T>,
}

/// A slab of fixed capacity with generational keys. The capacity moves only where its owner says so.
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    capacity: u32,
    free: Option<u32>,
    len: u32,
}

impl<T> Slots<T> {
    /// A table of `capacity` places. Reserves all of them, and touches none.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        Slots { slots: Vec::with_capacity(capacity as usize), capacity, free: None, len: 0 }
    }

    /// From now on the table has `capacity` places; where they are more, it reserves them. Nobody has to go: where more live here than that, it is
    /// full until enough have left.
    pub fn set_capacity(&mut self, capacity: u32) {
        self.capacity = capacity;
        self.slots.reserve((capacity as usize).saturating_sub(self.slots.len()));
    }

    /// How many live here.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nobody lives here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether every place is taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len >= self.capacity
    }

    /// Takes a place: the one left last, whose memory is likeliest to be warm.
    ///
    /// # Errors
    /// [`Full`] gives the value back where every place is taken.
    pub fn insert(&mut self, value: T) -> Result<Key, Full<T>> {
        if self.is_full() {
            return Err(Full(value));
        }
        self.len += 1;
        if let Some(index) = self.free {
            let slot = &mut self.slots[index as usize];
            let Place::Free(next) = slot.place else { unreachable!("the free list holds free places") };
            self.free = next;
            slot.place = Place::Taken(value);
            return Ok(Key { index, generation: slot.generation });
        }
        let index = self.slots.len() as u32; // as many as live here, fewer than `capacity`
        self.slots.push(Slot { generation: 0, place: Place::Taken(value) });
        Ok(Key { index, generation: 0 })
    }

    /// Ends a tenancy and gives the value back; `None` where it had ended before.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation || matches!(slot.place, Place::Free(_)) {
            return None;
        }
        let Place::Taken(value) = std::mem::replace(&mut slot.place, Place::Free(self.free)) else {
            unreachable!("a free place was sent away above")
        };
        slot.generation = slot.generation.wrapping_add(1);
        self.free = Some(key.index);
        self.len -= 1;
        Some(value)
    }

    /// The tenant that `key` names, if it still lives here.
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        match self.slots.get(key.index as usize) {
            Some(Slot { generation, place: Place::Taken(value) }) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The tenant that `key` names, if it still lives here, to change it.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some(Slot { generation, place: Place::Taken(value) }) if *generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// The key of whoever lives at `index` now.
    #[must_use]
    pub fn key_at(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        matches!(slot.place, Place::Taken(_)).then_some(Key { index, generation: slot.generation })
    }

    /// Everyone, in the order of their places, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.slots.iter_mut().zip(0..).filter_map(|(slot, index)| match &mut slot.place {
            Place::Taken(value) => Some((Key { index, generation: slot.generation }, value)),
            Place::Free(_) => None,
        })
    }

    /// Everyone, in the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.slots.iter().zip(0..).filter_map(|(slot, index)| match &slot.place {
            Place::Taken(value) => Some((Key { index, generation: slot.generation }, value)),
            Place::Free(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_value_back_when_full() {
        let mut slots = Slots::new(2);
        assert!(slots.insert("a").is_ok());
        assert!(slots.insert("b").is_ok());
        assert_eq!(slots.insert("c"), Err(Full("c")));
        assert_eq!(slots.len(), 2);
    }

    #[test]
    fn a_key_does_not_outlive_its_tenant() {
        let mut slots = Slots::new(1);
        let first = slots.insert("first").unwrap();
        assert_eq!(slots.remove(first), Some("first"));
        assert_eq!(slots.remove(first), None);
        let second = slots.insert("second").unwrap();
        assert_eq!(second.index, first.index);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
        assert_eq!(slots.key_at(0), Some(second));
    }

    #[test]
    fn a_table_grows_at_once_and_shrinks_as_its_tenants_leave() {
        let mut slots = Slots::new(2);
        let [first, second] = ["first", "second"].map(|name| slots.insert(name).unwrap());
        slots.set_capacity(4);
        let third = slots.insert("third").unwrap();
        assert!(slots.insert("fourth").is_ok() && slots.is_full());
        slots.set_capacity(2);
        assert_eq!((slots.len(), slots.get(third)), (4, Some(&"third")), "nobody has to go");
        for key in [first, second] {
            assert_eq!(slots.insert("one more"), Err(Full("one more")));
            slots.remove(key);
        }
        assert_eq!(slots.insert("one more"), Err(Full("one more")), "two are here");
        slots.remove(third);
        // The place left last is one that the table would not have had at first.
        assert_eq!(slots.insert("one more").map(|key| key.index), Ok(2));
        assert!(slots.is_full());
        slots.set_capacity(0);
        assert_eq!((slots.len(), slots.is_full()), (2, true));
    }

    #[test]
    fn the_place_left_last_is_taken_first() {
        let mut slots = Slots::new(3);
        let keys: Vec<Key> = (0..3).map(|n| slots.insert(n).unwrap()).collect();
        slots.remove(keys[0]);
        slots.remove(keys[2]);
        assert_eq!(slots.insert(9).unwrap().index, 2);
        assert_eq!(slots.insert(9).unwrap().index, 0);
        assert!(slots.is_full());
        assert_eq!(slots.iter().map(|(key, n)| (key.index, *n)).collect::<Vec<_>>(), [(0, 9), (1, 1), (2, 9)]);
    }
}
