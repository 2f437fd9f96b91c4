import { testEveryByte } from './every-byte.js';

testEveryByte(4);
