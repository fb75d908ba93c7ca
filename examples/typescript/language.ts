// What the document pipeline knows about language: the sentences that matter most, and the kind of a text.

import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

// Words that are everywhere and say nothing about what a text is about.
const STOP_WORDS = new Set(
  `a about above after again all also am an and any are as at be because been before below between both but by can
   could day did do does each few for from further had has have he her here him his how i if in into is it its itself
   just like may me more most my no nor not now of off on once one only or other our out over own same shall she should
   so some such than that the their them then there these they this those three through to too two under until up us
   very was we were what when where which while who will with would you your`.split(/\s+/),
);

/** The words that carry meaning, in lower case and in order. */
export const words = (text: string): string[] =>
  (text.toLowerCase().match(/[a-zà-ÿ]+/g) ?? []).filter((word) => word.length > 1 && !STOP_WORDS.has(word));

/** The sentences of a text. A line break ends one too, as it does in letterheads and lists. */
export const sentences = (text: string): string[] =>
  text
    .split(/\r?\n/)
    .flatMap((line) => line.split(/(?<=[.!?])\s+(?=[A-ZÀ-Ý])/))
    .map((sentence) => sentence.trim())
    .filter((sentence) => sentence.split(/\s+/).length >= 5);

export function counted(found: string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of found) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

/** The `count` sentences whose words are most typical of the text, in the order in which they stand there. */
export function summarise(text: string, count = 2): string[] {
  const frequency = counted(words(text));
  const weighed = sentences(text).map((sentence, index) => {
    const meaning = words(sentence);
    // The mean, not the sum: otherwise the longest sentence always wins. Of equals the earlier one is taken.
    const sum = meaning.reduce((all, word) => all + (frequency.get(word) ?? 0), 0);
    return { sentence, index, weight: sum / (meaning.length + 3) };
  });
  const best = weighed.toSorted((a, b) => b.weight - a.weight || a.index - b.index).slice(0, count);
  return best.toSorted((a, b) => a.index - b.index).map(({ sentence }) => sentence);
}

/** The words that are used most. Of equals the one that is used first is taken. */
export const keywords = (text: string, count: number): string[] =>
  [...counted(words(text))].toSorted((a, b) => b[1] - a[1]).slice(0, count).map(([word]) => word);

/** Multinomial naive Bayes over words: the most likely kind of a text, and by how much, as a natural logarithm. */
export function classify(text: string, folder: string): { name: string; margin: number } {
  const kinds = readdirSync(folder)
    .filter((file) => file.endsWith(".txt"))
    .map((file) => {
      const found = words(readFileSync(path.join(folder, file), "utf8"));
      return { name: path.parse(file).name, counts: counted(found), total: found.length };
    });
  const vocabulary = new Set(kinds.flatMap(({ counts }) => [...counts.keys()])).size;
  const meaning = words(text);
  const [first, second] = kinds
    .map(({ name, counts, total }) => {
      // + 1: a new word rules nothing out
      const chance = (word: string) => Math.log(((counts.get(word) ?? 0) + 1) / (total + vocabulary));
      return { name, score: meaning.reduce((sum, word) => sum + chance(word), 0) };
    })
    .toSorted((a, b) => b.score - a.score);
  return { name: first.name, margin: first.score - second.score };
}
