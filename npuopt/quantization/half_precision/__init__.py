"""Computing in float16 or bfloat16: which ops take them, what they lose, and what has to stay in float32."""
