import { testStoreConformance } from './conformance.js';
import { ModelStore } from './model-store.js';
import { LIMITS } from './requests.js';

// The model never loses anything, so that it is opened again by going on with it.
testStoreConformance('the model of the store', {
  open: (limits) => new ModelStore(limits ?? LIMITS),
  reopen: (store, limits) => {
    if (limits !== undefined) store.setLimits(limits);
    return store;
  },
});
