// The order that Go's sort.Sort gives: clients of etcd see it where pairs compare equal. That is pattern-defeating quicksort
// (arxiv.org/abs/2106.05123) with Go's constants; which of the equals comes first follows from which are compared and swapped
// when, so each of these steps is part of what etcd answers. Stays in bounds whatever `less` says.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace mvcc {

template <class T, class Less>
class GoSorter {
 public:
  GoSorter(std::vector<T>& items, Less less) : v_(items), less_items_(std::move(less)) {}

  void sort() {
    if (v_.size() > 1) quicksort(0, size(), std::bit_width(v_.size()));
  }

 private:
  using Place = ptrdiff_t;
  static constexpr Place kInsertionMax = 12;  // up to here by insertion
  static constexpr Place kNintherMin = 50;    // from here on the pivot is a median of medians, and shifting is tried
  static constexpr int kShiftsMax = 5;
  static constexpr int kNintherComparisons = 12;

  Place size() const { return static_cast<Place>(v_.size()); }
  T& at(Place i) { return v_[static_cast<size_t>(i)]; }
  bool less(Place i, Place j) { return less_items_(at(i), at(j)); }
  void swap(Place i, Place j) { std::swap(at(i), at(j)); }

  // [begin, end); after `bad_pivots_left` unbalanced splits it gives up and sorts by heap.
  void quicksort(Place begin, Place end, int bad_pivots_left) {
    bool balanced = true, in_order = true;
    for (;;) {
      const Place length = end - begin;
      if (length <= kInsertionMax) return insert_all(begin, end);
      if (bad_pivots_left == 0) return heap_sort(begin, length);
      if (!balanced) {
        scatter(begin, length);
        --bad_pivots_left;
      }
      int exchanges = 0;
      Place pivot = choose_pivot(begin, length, &exchanges);
      bool looks_sorted = exchanges == 0;
      if (exchanges == kNintherComparisons) {  // It runs backwards.
        for (Place i = begin, j = end - 1; i < j; ++i, --j) swap(i, j);
        pivot = end - 1 - (pivot - begin);
        looks_sorted = true;
      }
      if (balanced && in_order && looks_sorted && mend(begin, end)) return;
      // What lies before is not below the pivot: so many are equal to it.
      if (begin > 0 && !less(begin - 1, pivot)) {
        begin = split_equal(begin, end, pivot);
        continue;
      }
      const Place middle = split(begin, end, pivot, &in_order);
      const Place left = middle - begin, right = end - middle;
      if (left < right) {
        balanced = left >= length / 8;
        quicksort(begin, middle, bad_pivots_left);
        begin = middle + 1;
      } else {
        balanced = right >= length / 8;
        quicksort(middle + 1, end, bad_pivots_left);
        end = middle;
      }
    }
  }

  void insert_all(Place begin, Place end) {
    for (Place i = begin + 1; i < end; ++i) {
      for (Place j = i; j > begin && less(j, j - 1); --j) swap(j, j - 1);
    }
  }

  void sift_down(Place begin, Place root, Place length) {
    for (Place child; (child = 2 * root + 1) < length; root = child) {
      if (child + 1 < length && less(begin + child, begin + child + 1)) ++child;
      if (!less(begin + root, begin + child)) return;
      swap(begin + root, begin + child);
    }
  }
  void heap_sort(Place begin, Place length) {
    for (Place i = (length - 1) / 2; i >= 0; --i) sift_down(begin, i, length);
    for (Place i = length - 1; i >= 0; --i) {
      swap(begin, begin + i);
      sift_down(begin, 0, i);
    }
  }

  // Three exchanges with places that a fixed xorshift names.
  void scatter(Place begin, Place length) {
    uint64_t random = static_cast<uint64_t>(length);
    const uint64_t mask = (uint64_t{1} << std::bit_width(random)) - 1;
    const Place first = begin + length / 4 * 2 - 1;
    for (Place i = first; i < first + 3; ++i) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      Place other = static_cast<Place>(random & mask);
      if (other >= length) other -= length;
      swap(i, begin + other);
    }
  }

  Place median(Place a, Place b, Place c, int* exchanges) {
    const auto order = [&](Place& x, Place& y) {
      if (!less(y, x)) return;
      ++*exchanges;
      std::swap(x, y);
    };
    order(a, b);
    order(b, c);
    order(a, b);
    return b;
  }
  // REQUIRES: length > kInsertionMax.
  Place choose_pivot(Place begin, Place length, int* exchanges) {
    Place quarter[3];
    for (Place i = 0; i < 3; ++i) {
      const Place p = begin + length / 4 * (i + 1);
      quarter[i] = length >= kNintherMin ? median(p - 1, p, p + 1, exchanges) : p;
    }
    return median(quarter[0], quarter[1], quarter[2], exchanges);
  }

  // Tries to finish what is nearly sorted. True: it is sorted.
  bool mend(Place begin, Place end) {
    Place i = begin + 1;
    for (int shifts = 0; shifts < kShiftsMax; ++shifts) {
      while (i < end && !less(i, i - 1)) ++i;
      if (i == end) return true;
      if (end - begin < kNintherMin) return false;
      swap(i, i - 1);
      if (i - begin >= 2) {
        for (Place j = i - 1; j >= 1 && less(j, j - 1); --j) swap(j, j - 1);
      }
      if (end - i >= 2) {
        for (Place j = i + 1; j < end && less(j, j - 1); ++j) swap(j, j - 1);
      }
    }
    return false;
  }

  // Below the pivot to the left, the others to the right; the place of the pivot between them.
  Place split(Place begin, Place end, Place pivot, bool* was_split) {
    swap(begin, pivot);
    Place i = begin + 1, j = end - 1;
    *was_split = true;
    for (;;) {
      while (i <= j && less(i, begin)) ++i;
      while (i <= j && !less(j, begin)) --j;
      if (i > j) break;
      *was_split = false;
      swap(i++, j--);
    }
    swap(j, begin);
    return j;
  }
  // Equal to the pivot to the left, above it to the right; where the right begins. REQUIRES: none below.
  Place split_equal(Place begin, Place end, Place pivot) {
    swap(begin, pivot);
    Place i = begin + 1, j = end - 1;
    for (;;) {
      while (i <= j && !less(begin, i)) ++i;
      while (i <= j && less(begin, j)) --j;
      if (i > j) return i;
      swap(i++, j--);
    }
  }

  std::vector<T>& v_;
  Less less_items_;
};

template <class T, class Less>
void sort_as_go(std::vector<T>& items, Less less) {
  GoSorter<T, Less>(items, std::move(less)).sort();
}

}  // namespace mvcc
