import { distance } from 'fastest-levenshtein';

/**
 * The candidate that `word` was probably meant to be, or undefined. Case, dashes and underscores do not count; of the
 * letters, about one in three may be wrong.
 */
export function nearMiss(word: string, candidates: Iterable<string>): string | undefined {
  const wanted = fold(word);
  // Beyond this length nothing of ours is near, and the distance would cost more than the hint is worth.
  if (wanted.length > 100) return undefined;
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const steps = distance(wanted, fold(candidate));
    if (steps < bestDistance) {
      best = candidate;
      bestDistance = steps;
    }
  }
  return best;
}

function fold(word: string): string {
  return word.toLowerCase().replaceAll(/[-_\s]/g, '');
}
