/** Luxon, for times that are not written in the usual form; few services ever read one. */
import { lazily } from './lazily.js';

export const luxon = lazily<typeof import('luxon')>('luxon');
