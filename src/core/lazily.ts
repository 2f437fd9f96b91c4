/** Packages that few need are loaded with their first use: whoever never uses one does not have it in memory. */
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** Gives the package of this name, which is loaded with the first call. Throws what loading it throws. */
export function lazily<Package>(name: string): () => Package {
  let loaded: { value: Package } | undefined;
  return () => {
    loaded ??= { value: require(name) as Package };
    return loaded.value;
  };
}
