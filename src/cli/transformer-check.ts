import type { LoadedConfig } from '../config/loading.js';
import type { Problem } from '../config/problem.js';
import { formatPath, type Path, parsePath } from '../config/shape.js';
import { NorthError } from '../core/error.js';
import { openTransformer } from '../transform/transformer.js';

/** What only compiling the transformers of a valid configuration can tell: templates, paths, expressions, formats. */
export function transformerErrors(loaded: LoadedConfig): Problem[] {
  const problems: Problem[] = [];
  for (const [index, connector] of (loaded.config?.connectors ?? []).entries()) {
    for (const [position, transformer] of connector.transformers.entries()) {
      try {
        openTransformer(transformer);
      } catch (error) {
        if (!(error instanceof NorthError)) throw error;
        const path: Path = ['connectors', index, 'transformers', position, ...parsePath(error.place ?? '')];
        const { code, message, remedy: hint } = error;
        problems.push({ severity: 'error', code, path: formatPath(path), message, hint, ...loaded.placeOf(path) });
      }
    }
  }
  return problems;
}
